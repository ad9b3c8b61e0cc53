"""The models by name; free of TensorFlow, so that listing them is quick."""

import dataclasses
import importlib
from typing import Any, Dict, Type

from schemas import settings
from trainer import config


@dataclasses.dataclass(frozen=True)
class ModelEntry:
    """What there is to know of a model before it is built."""

    name: str
    settings: Type[settings.Settings]
    dotted_class: str
    paper: str
    window_kind: str
    summary: str


MODELS: Dict[str, ModelEntry] = {
    entry.name: entry
    for entry in (
        ModelEntry(
            "popularity",
            config.PopularitySettings,
            "trainer.models.popularity.Popularity",
            "",
            "next",
            "ranks items by their number of training targets; the floor of every gate",
        ),
        ModelEntry(
            "sasrec",
            config.SASRecSettings,
            "trainer.models.sasrec.SASRec",
            "Kang and McAuley, Self-Attentive Sequential Recommendation, ICDM 2018",
            "next",
            "causal self-attention over the item history",
        ),
        ModelEntry(
            "gru4rec",
            config.GRU4RecSettings,
            "trainer.models.gru4rec.GRU4Rec",
            "Hidasi et al., Session-based Recommendations with Recurrent Neural Networks, ICLR 2016",
            "next",
            "gated recurrent units over the item history",
        ),
        ModelEntry(
            "casm",
            config.CASMSettings,
            "trainer.models.casm.CASM",
            "Elsayed et al., Context-Aware Sequential Model for Multi-Behaviour Recommendation, "
            "arXiv 2312.09684",
            "next",
            "self-attention over items with their behaviours, whose weights in the loss are set or learnt",
        ),
        ModelEntry(
            "bert4rec",
            config.BERT4RecSettings,
            "trainer.models.bert4rec.BERT4Rec",
            "Sun et al., BERT4Rec: Sequential Recommendation with Bidirectional Encoder Representations "
            "from Transformer, CIKM 2019",
            "next",
            "bidirectional self-attention that fills in masked items",
        ),
        ModelEntry(
            "caser",
            config.CaserSettings,
            "trainer.models.caser.Caser",
            "Tang and Wang, Personalized Top-N Sequential Recommendation via Convolutional Sequence "
            "Embedding, WSDM 2018",
            "next",
            "horizontal and vertical convolutions over the last items",
        ),
    )
}


def load(name: str) -> Type[Any]:
    """Imports the class of a model (and TensorFlow with it)."""
    module, _, attribute = MODELS[name].dotted_class.rpartition(".")
    return getattr(importlib.import_module(module), attribute)
