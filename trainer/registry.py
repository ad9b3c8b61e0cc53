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
            "ranks items by their number of training targets; the floor of every gate on next items",
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
        ModelEntry(
            "mlp",
            config.MLPSettings,
            "trainer.models.mlp.MLP",
            "",
            "exposure",
            "a perceptron for each step of the chain, nothing shared; the baseline of BPCM",
        ),
        ModelEntry(
            "omoe",
            config.OMoESettings,
            "trainer.models.omoe.OMoE",
            "Ma et al., Modeling Task Relationships in Multi-task Learning with Multi-gate "
            "Mixture-of-Experts, KDD 2018",
            "exposure",
            "experts mixed by one gate for all steps",
        ),
        ModelEntry(
            "mmoe",
            config.MMoESettings,
            "trainer.models.mmoe.MMoE",
            "Ma et al., Modeling Task Relationships in Multi-task Learning with Multi-gate "
            "Mixture-of-Experts, KDD 2018",
            "exposure",
            "experts mixed by a gate for each step",
        ),
        ModelEntry(
            "ple",
            config.PLESettings,
            "trainer.models.ple.PLE",
            "Tang et al., Progressive Layered Extraction (PLE): A Novel Multi-Task Learning (MTL) "
            "Model for Personalized Recommendations, RecSys 2020",
            "exposure",
            "levels of experts, some shared and some of a step",
        ),
        ModelEntry(
            "aitm",
            config.AITMSettings,
            "trainer.models.aitm.AITM",
            "Xi et al., Modeling the Sequential Dependence among Audience Multi-step Conversions "
            "with Multi-task Learning in Targeted Display Advertising, KDD 2021",
            "exposure",
            "each step gets what attention lets through from the one before",
        ),
        ModelEntry(
            "esmm",
            config.ESMMSettings,
            "trainer.models.esmm.ESMM",
            "Ma et al., Entire Space Multi-Task Model: An Effective Approach for Estimating "
            "Post-Click Conversion Rate, SIGIR 2018",
            "exposure",
            "a step is the product of the chances of all steps up to it",
        ),
        ModelEntry(
            "bpcm",
            config.BPCMSettings,
            "trainer.models.bpcm.BPCM",
            "Tang et al., A Multi-task Learning Framework with Features Based on Behavioral Pattern "
            "Conversation",
            "exposure",
            "gated feature towers, and attention from each step to the one before",
        ),
    )
}


def load(name: str) -> Type[Any]:
    """Imports the class of a model (and TensorFlow with it)."""
    module, _, attribute = MODELS[name].dotted_class.rpartition(".")
    return getattr(importlib.import_module(module), attribute)
