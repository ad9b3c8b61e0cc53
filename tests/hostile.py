"""Texts that a log may have, and that act on what shows them if nobody sees to it."""

# As an id, none has a line break: such a row is refused.
IDS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }}",
    "../../x",
    "/etc/passwd",
    "=cmd()",
    "+1",
    "@x",
    "\u202egpj.exe",
    "a\u200bb\ufeffc",
    "\x1b[2J\x1b[31mred",
    "bell\x07",
    "a\x00b",
    "next\x85line",
    "line\u2028separator",
    "vertical\x0btab",
    "[PAD]",
    "[red]markup[/red]",
    "[UNK]",
    "train",
    "__proto__",
    "user_id",
    "%s %(x)s {0}",
    "x" * 256,
)
# Characters that may stand in no page, message or terminal as they are.
ACTING = "\x00\x07\x0b\x1b\x7f\x85\u200b\u200f\u2028\u2029\u202a\u202e\u2066\ufeff\ud800\U000e0041"
