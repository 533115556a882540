"""Recipes that build the embedded pools from their sources: ``fusion_bench zoo build clip_mini``.

Nothing in the house imports this folder; it needs the extra ``zoo`` (fonttools, resvg-py) and, for the sources,
the ordinary clients ``apt-get``, ``npm`` and ``pip``.
"""
