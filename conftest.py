"""Settings for the tests of this checkout. The options and fixtures come from the plugin `fusion_bench.pytest_plugin`."""

pytest_plugins = ["pytester"]
