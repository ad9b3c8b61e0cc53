"""What settings of models with experts have in common."""

import pydantic

from trainer.settings import conversion


class ExpertSettings(conversion.ConversionSettings):
    """What settings of models with experts have in common.

    Attributes:
      expert: widths of the layers of each expert.
    """

    expert: conversion.Widths = pydantic.Field(default=(64,), min_length=1)
    tower: conversion.Widths = (32,)
