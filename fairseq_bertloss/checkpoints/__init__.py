"""fairseq's checkpoints: loaded with torch's safety check on, averaged, mended after an interruption."""
