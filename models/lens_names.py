"""What the statistics of a lens's cells are called (no numpy: the command line's help lists them)."""

CELLS = ("probability", "actual_probability", "rank", "cross_entropy", "entropy", "kl_final")
"""Numbers of one column: fields of ``records.lens.Lens``."""
BETWEEN = ("kl", "kl_reverse", "js")
"""Numbers of two columns: fields of ``records.lens.LensDifference``."""
