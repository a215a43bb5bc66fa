"""Text as such: its language, its script, its spaces, its characters. No torch here."""
