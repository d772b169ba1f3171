"""Two-stage fine-tuning, and what it leaves behind."""
