"""Outline of a finished run, stored as `results/{run}/run.json`, by which its report finds the results."""

from __future__ import annotations

from typing import Any

from wsss.plan.run import Plan


def outline(plan: Plan) -> dict[str, Any]:
    """JSON types: the run's name, its published numbers, and its steps with folders and upstream labels."""
    labels = {step.key: step.label for step in plan.steps}
    steps = [
        {
            "label": step.label,
            "stage": step.stage,
            "folder": str(step.folder),
            "upstream": {role: labels[other.key] for role, other in step.upstream.items()},
        }
        for step in plan.steps
    ]
    numbers = plan.settings.published.get(plan.settings.prepare_data.dataset, {})
    published = {row: number.model_dump(mode="json") for row, number in numbers.items()}
    return {"run": plan.run, "published": published, "steps": steps}
