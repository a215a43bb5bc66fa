"""The report on a comparison, as one page and as Markdown."""
