"""Backbones: timm by name, ResNet-38 and MiT where timm has none, and published checkpoints."""
