"""Stands in for pygame, which some versions import at once: nothing is drawn here."""
