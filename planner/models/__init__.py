"""Models: their shapes (`config`), their presets (`load`), their parameter counts (`count`)."""

from planner.models.config import Attention, LayerType, ModelConfig, MoE

__all__ = ["Attention", "LayerType", "MoE", "ModelConfig"]
