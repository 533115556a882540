"""Settings for the tests of this checkout. Options and fixtures come from the plugin `fusion_bench.pytest_plugin`."""

pytest_plugins = ["pytester"]
