"""Whether a run pushes, as a parameter of runs says it. Free of TFX."""

PUSH = "push"
YES = "yes"
NO = "no"
VALUES = (YES, NO)
