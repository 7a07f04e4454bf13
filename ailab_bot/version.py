"""The version, in a module of its own: `ailab_bot/__init__.py` stays empty for start-up's sake."""

__version__ = "0.1.0"
