"""Deployment files against the schemas of Compose and Kubernetes, and against what this program really has."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import compose_spec
import kubernetes_validate
import pytest
import yaml

from bench.scale import FIGURES, GATEWAY_PER_CORE, tables
from deixis.service.models import name_and_spec
from deixis.service.settings import Settings
from tests.service.serving import ROOT, Running

DEPLOY = ROOT / "deploy"
COMPOSE = sorted(DEPLOY.glob("compose*.yaml"))
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
VERSION = "1.33"


def objects(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def settings_in(value: Any) -> dict[str, str]:
    """Every DEIXIS_… that is set, with its value."""
    found: dict[str, str] = {}
    if isinstance(value, dict):
        for key, inner in value.items():
            if str(key).startswith("DEIXIS_"):
                found[key] = str(inner)
            found |= settings_in(inner)
    elif isinstance(value, list):
        for inner in value:
            found |= settings_in(inner)
    return found


def test_all_are_here() -> None:
    assert [path.name for path in COMPOSE] == ["compose.sglang.yaml", "compose.vllm.yaml", "compose.yaml"]
    assert len(MANIFESTS) == 2


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.name)
def test_compose_files(path: Path) -> None:
    (document,) = objects(path)
    specification = compose_spec.ComposeSpecification.model_validate(document)
    assert specification.services
    gateway = document["services"]["gateway"]
    assert all(port.startswith("127.0.0.1:") for port in gateway["ports"])
    assert gateway["read_only"] and gateway["cap_drop"] == ["ALL"]
    assert (path.parent / gateway["build"]["context"] / gateway["build"]["dockerfile"]).is_file()
    broken = document | {"services": {"gateway": gateway | {"ports": {"not": "a list"}}}}
    with pytest.raises(ValueError):  # noqa: PT011 - the schema does refuse
        compose_spec.ComposeSpecification.model_validate(broken)


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifests(path: Path) -> None:
    found = objects(path)
    for one in found:
        kubernetes_validate.validate(one, VERSION, strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(found[-1] | {"spec": {"nonsense": True}}, VERSION, strict=True)
    kinds = {one["kind"] for one in found}
    assert {"Deployment", "Service", "HorizontalPodAutoscaler"} <= kinds
    names = {one["metadata"]["name"] for one in found if one["kind"] == "Deployment"}
    for one in found:
        if one["kind"] == "HorizontalPodAutoscaler":
            assert one["spec"]["scaleTargetRef"]["name"] in names
        if one["kind"] == "Deployment":
            (container,) = one["spec"]["template"]["spec"]["containers"]
            assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container)


def test_every_setting_that_is_named_exists() -> None:
    named: dict[str, str] = {}
    for path in (*COMPOSE, *MANIFESTS):
        for one in objects(path):
            named |= settings_in(one)
    named |= dict.fromkeys(re.findall(r"\b(DEIXIS_[A-Z_]+)=", (DEPLOY / "Dockerfile").read_text(encoding="utf-8")), "")
    table = (ROOT / "docs" / "gateway.md").read_text(encoding="utf-8")
    written = {name for row in re.findall(r"^\| (`[A-Z_`, ]+`) \|", table, re.MULTILINE) for name in re.findall(r"[A-Z_]+", row)}
    fields = {name.upper() for name in Settings.model_fields}
    assert {name.removeprefix("DEIXIS_") for name in named} <= fields
    assert written == fields  # the documents name all of them, and no other


def test_models_that_are_named_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (*COMPOSE, *MANIFESTS):
        for one in objects(path):
            if written := settings_in(one).get("DEIXIS_MODELS"):
                monkeypatch.setenv("DEIXIS_MODELS", written)
                for model in Settings().models:
                    name, spec = name_and_spec(model)
                    assert spec == "nano" or (
                        name.startswith("Qwen/") and spec.startswith("http://") and spec.endswith(f"#{name}")
                    )


def test_probes_name_routes_and_hosts_that_are_served(served: Running) -> None:
    gateway = next(one for one in objects(DEPLOY / "kubernetes" / "gateway.yaml") if one["kind"] == "Deployment")
    (container,) = gateway["spec"]["template"]["spec"]["containers"]
    with served.client() as client:
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = container[probe]["httpGet"]
            headers = {header["name"]: header["value"] for header in asked["httpHeaders"]}
            assert client.get(asked["path"], headers=headers).status_code == 200
        notes = gateway["spec"]["template"]["metadata"]["annotations"]
        assert client.get(notes["prometheus.io/path"]).status_code == 200
    scaler = next(one for one in objects(DEPLOY / "kubernetes" / "gateway.yaml") if one["kind"] == "HorizontalPodAutoscaler")
    metric = scaler["spec"]["metrics"][0]["pods"]["metric"]["name"]
    with served.client() as client:
        assert f"\n{metric} " in client.get("/metrics").text


def test_the_scale_that_is_told_is_the_one_that_is_computed() -> None:
    told = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    assert tables(3.0, 0.6) in told
    assert tables(3.0, 0.5) not in told
    measured = (ROOT / "bench" / "results" / "2026-11-21-speed-h200" / "README.md").read_text(encoding="utf-8")
    for row in FIGURES:
        assert f"{row.new_pictures:g} req/s" in measured or f" {row.new_pictures:g} |" in measured
        assert row.same_picture > row.new_pictures > 0
    assert f"about {GATEWAY_PER_CORE:g} requests" in told
    for text in (told, (ROOT / "docs" / "gateway.md").read_text(encoding="utf-8")):
        assert "not run here" in text


def test_the_dockerfile_installs_what_the_project_is() -> None:
    lines = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").splitlines()
    for line in lines:
        if line.startswith("COPY ") and "--from" not in line:
            *sources, _ = line.split()[1:]
            assert all((ROOT / source).exists() for source in sources), line
    assert sum(line.startswith("FROM ") for line in lines) == 2
    assert "USER 10001" in lines and json.dumps(["serve"]) in lines[-1]
