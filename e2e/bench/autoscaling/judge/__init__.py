"""What the runs came to: outcomes, tables, plots, and the goals."""
