"""Typed, strict configuration: YAML files and `key=value` overrides into frozen models.

A recipe (configs/recipe/NAME.yaml) names one file per section (configs/data, teacher, student, quant, budget)
or holds the section inline.
"""

from pair_fld.config.base import Strict
from pair_fld.config.data import (
    ConventionConfig,
    DataConfig,
    LabelAblationConfig,
    LabelVariant,
    PercentOffset,
    ProtocolConfig,
    ReferenceConfig,
    SchemeConfig,
    SecondOpinionConfig,
    SourceConfig,
)
from pair_fld.config.loading import config_root, find_config, load_recipe, load_section
from pair_fld.config.renamed import current_keys, read_recorded
from pair_fld.config.schema import (
    AugmentConfig,
    BudgetConfig,
    DetectorConfig,
    DistillConfig,
    Limit,
    ModelConfig,
    ParetoConfig,
    QatConfig,
    QuantConfig,
    RecipeConfig,
    StageConfig,
    TrainConfig,
)

__all__ = [
    "AugmentConfig",
    "BudgetConfig",
    "ConventionConfig",
    "DataConfig",
    "DetectorConfig",
    "DistillConfig",
    "LabelAblationConfig",
    "LabelVariant",
    "Limit",
    "ModelConfig",
    "ParetoConfig",
    "PercentOffset",
    "ProtocolConfig",
    "QatConfig",
    "QuantConfig",
    "RecipeConfig",
    "ReferenceConfig",
    "SchemeConfig",
    "SecondOpinionConfig",
    "SourceConfig",
    "StageConfig",
    "Strict",
    "TrainConfig",
    "config_root",
    "current_keys",
    "find_config",
    "load_recipe",
    "load_section",
    "read_recorded",
]
