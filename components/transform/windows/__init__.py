"""How the windows of each kind become tensors: names of functions, since TensorFlow is not imported here."""

from schemas import kinds

PREPROCESSING = {
    "next": "components.transform.windows.next.preprocessing_fn",
    "period": "components.transform.windows.period.preprocessing_fn",
    "exposure": "components.transform.windows.exposure.preprocessing_fn",
}


def get(kind: str) -> str:
    """The dotted name of a window kind's `preprocessing_fn`, as TFX Transform takes it.

    Raises:
      errors.InputError: if there is none.
    """
    return kinds.entry(PREPROCESSING, "window kind", kind)
