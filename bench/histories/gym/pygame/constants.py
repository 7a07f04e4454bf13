"""See the package."""

SRCALPHA = 0
