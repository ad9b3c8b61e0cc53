"""The models by name; free of TensorFlow, so that listing them is quick."""

import importlib
from typing import Any

from schemas import settings
from trainer.settings import (
    aitm,
    bert4rec,
    bpcm,
    byb,
    byb_labels,
    carca,
    caser,
    casm,
    contrarec,
    dspnet,
    esasrec,
    esmm,
    gru4rec,
    hstu,
    mlp,
    mmoe,
    model,
    msdp,
    omoe,
    ple,
    popularity,
    sasrec,
    scenecontrarec,
    scenectc,
    user_autoencoder,
    user_msdp,
    user_next,
)

# A model declares itself in its settings; the experiment's type, the lists and the tables are made from these.
MODELS: dict[str, type[model.ModelSettings]] = {
    settings.tag(entry, "name"): entry
    for entry in (
        popularity.PopularitySettings,
        sasrec.SASRecSettings,
        esasrec.ESASRecSettings,
        hstu.HSTUSettings,
        gru4rec.GRU4RecSettings,
        casm.CASMSettings,
        bert4rec.BERT4RecSettings,
        caser.CaserSettings,
        dspnet.DSPnetSettings,
        scenectc.SceneCTCSettings,
        contrarec.ContraRecSettings,
        scenecontrarec.SceneContraRecSettings,
        msdp.MSDPSettings,
        carca.CARCASettings,
        mlp.MLPSettings,
        omoe.OMoESettings,
        mmoe.MMoESettings,
        ple.PLESettings,
        aitm.AITMSettings,
        esmm.ESMMSettings,
        bpcm.BPCMSettings,
        byb.BYBSettings,
        user_msdp.UserMSDPSettings,
        user_next.UserNextSettings,
        user_autoencoder.UserAutoencoderSettings,
        byb_labels.BYBLabelsSettings,
    )
}


def load(name: str) -> type[Any]:
    """Imports the class of a model (and TensorFlow with it)."""
    module, _, attribute = MODELS[name].model_class.rpartition(".")
    return getattr(importlib.import_module(module), attribute)
