"""A step's settings in words, for people who know the methods and not this configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Config = Mapping[str, Any]


def describe(stage: str, config: Config) -> str:
    """One line on what the step did; a stage without words of its own, or with settings that they do not know,
    lists its plain settings.
    """
    try:
        return _WORDS.get(stage, _listed)(config)
    except (KeyError, TypeError):
        return _listed(config)


def _listed(config: Config) -> str:
    plain = {k: v for k, v in config.items() if isinstance(v, str | int | float)}
    return ", ".join(f"{name.replace('_', ' ')} {_number(value)}" for name, value in plain.items())


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _data(config: Config) -> str:
    if config["dataset"] == "shapes":
        return f"generated images of strange animals, seed {config.get('rng_seed', 0)}"
    source = config.get("root") or config.get("images") or ""
    return f"{config['dataset']} from {source}"


def _training(config: Config) -> str:
    t = config["training"]
    if t is None:
        return "published weights, not trained further"
    optimizer, schedule = t["optimizer"], t["schedule"]
    amp = t.get("amp", "off")
    mixed = {"off": "", "auto": ", bf16 where the device has it"}.get(amp, f", {amp}")
    return (
        f"{_number(t['epochs'])} epochs, batches of {t['batch_size']}, {optimizer['name']} at learning rate "
        f"{_number(optimizer['lr'])} ({schedule['name'].replace('_', ' ')}), crops of {t['augment']['crop']} px{mixed}"
    )


def _backbone(config: Config) -> str:
    b = config["backbone"]
    stride = f", output stride {b['output_stride']}" if b.get("output_stride") else ""
    start = "" if b.get("pretrained", True) or b.get("checkpoint") else ", from scratch"
    return f"{b['name']}{stride}{start}"


def _classifier(config: Config) -> str:
    method = {k: v for k, v in config["method"].items() if isinstance(v, str | int | float) and k != "name"}
    options = f" ({_listed(method)})" if method else ""
    return f"{config['method']['name'].upper()}{options} on {_backbone(config)}; {_training(config)}"


def _views(config: Config) -> str:
    scales = ", ".join(_number(scale) for scale in config["scales"])
    mirrors = " with mirrors" if config.get("flip") else ""
    return f"scales {scales}{mirrors}"


def _cams(config: Config) -> str:
    return f"{_views(config)}, fused by {config['fusion']}"


def _affinity(config: Config) -> str:
    radius = f", radius {config['radius']}" if "radius" in config else ""
    stride = f" at stride {config['stride']}" if "stride" in config else ""
    return f"{config.get('method', 'affinitynet')}{stride}{radius}; {_training(config)}"


def _walk(config: Config) -> str:
    exponents = ", ".join(f"{n} {_number(config[n])}" for n in ("alpha", "beta") if n in config)
    return f"random walk of {config.get('steps', '?')} steps, {exponents}"


def _crf(crf: Config) -> str:
    return (
        f"DenseCRF, {crf['steps']} iterations: {_number(crf['bilateral_weight'])} × colour "
        f"({_number(crf['bilateral_sxy'])} px, {_number(crf['bilateral_srgb'])} grey levels) + "
        f"{_number(crf['gaussian_weight'])} × place ({_number(crf['gaussian_sxy'])} px)"
    )


def _labels(config: Config) -> str:
    parts = ["PAR"] if config.get("par") else []
    parts += [_crf(config["crf"])] if config.get("crf") else []
    return "; ".join(parts) or "the highest score wins"


def _segmentation(config: Config) -> str:
    start = "the classifier's backbone" if config.get("init") == "classifier" else _backbone(config)
    labels = "the masks" if config.get("labels") == "ground_truth" else "the pseudo-labels"
    return f"{config['architecture']} on {start}, taught by {labels}; {_training(config)}"


def _segment(config: Config) -> str:
    crf = f"; then {_crf(config['crf'])}" if config.get("crf") else ""
    return f"{_views(config)}{crf}"


def _evaluate(config: Config) -> str:
    return f"{len(config['rows'])} rows, each from one pooled confusion matrix"


_WORDS: dict[str, Callable[[Config], str]] = {
    "prepare_data": _data,
    "train_classifier": _classifier,
    "infer_cam": _cams,
    "choose_threshold": lambda config: f"background score by policy '{config.get('policy', 'oracle')}'",
    "make_affinity_labels": lambda config: "confident foreground and background, the rest ignored",
    "train_affinity": _affinity,
    "refine_cam": _walk,
    "make_pseudo_labels": _labels,
    "train_segmentation": _segmentation,
    "segment": _segment,
    "evaluate": _evaluate,
}
