"""The Kubernetes manifests and the compose file, held to their schemas and to the program."""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import pytest
import yaml

from backend.addresses import Address, parse_address
from backend.settings import PREFIX, Settings
from scheduler import shutdown, workers
from tests.documents import assert_command_exists

ROOT: Final = Path(__file__).resolve().parents[2]
KUBERNETES: Final = ROOT / "deploy" / "kubernetes"
COMPOSE: Final[dict[str, Any]] = yaml.safe_load(
    (ROOT / "deploy" / "container" / "compose.yaml").read_text()
)
PARTS: Final[dict[str, dict[str, Any]]] = {
    path.parent.name: yaml.safe_load(path.read_text())
    for path in KUBERNETES.glob("*/kustomization.yaml")
}
VERSION: Final[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
NAMES: Final = {PREFIX + name.upper() for name in Settings.model_fields} | {"DSAR_SECRETS_DIR"}
LONGEST_STOP: Final = (
    Settings.model_fields["drain_seconds"].default + shutdown.FORCE_SECONDS + workers._KILL_SECONDS
)


def documents() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(KUBERNETES.rglob("*.yaml")):
        if path.name != "kustomization.yaml":
            for document in yaml.safe_load_all(path.read_text()):
                yield f"{path.name}:{document['kind']}:{document['metadata']['name']}", document


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, document in documents():
        spec = document.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            yield name, spec["template"]["spec"]


DOCUMENTS: Final = dict(documents())
PODS: Final = dict(pods())


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("version", ["1.30", "1.34"])
def test_manifest_valid_to_the_letter(name: str, version: str) -> None:
    kubernetes_validate.validate(DOCUMENTS[name], version, strict=True)


def test_manifest_misspelt_is_refused() -> None:
    spoilt = {**DOCUMENTS["deployment.yaml:Deployment:dsar-scheduler"], "spek": {}}

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(spoilt, "1.34", strict=True)


def test_kustomizations_name_every_file_and_one_image_of_this_release() -> None:
    release = PARTS["release"]
    assert release["images"] == [{"name": "levqor-dsar", "newTag": VERSION}]
    assert release["labels"][0]["pairs"]["app.kubernetes.io/version"] == VERSION
    for name, part in PARTS.items():
        files = {path.name for path in (KUBERNETES / name).glob("*.yaml")}
        named = set(part.get("resources", []))
        assert files - {"kustomization.yaml"} == named - {"../settings"}, name
        # What runs the image has it from there, and so the settings.
        runs = name not in ("release", "settings", "metrics")
        assert (part.get("components") == ["../release"]) is runs, name
        assert ("../settings" in named) is runs, name
    assert len(PODS) == 4
    for pod in PODS.values():
        assert [container["image"] for container in pod["containers"]] == ["levqor-dsar"]


@pytest.mark.parametrize("name", PODS)
def test_pod_keeps_the_restricted_standard_and_a_read_only_root(name: str) -> None:
    pod = PODS[name]

    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001  # the image's: see the Containerfile
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert {"/tmp", "/run/secrets/dsar"} <= mounts
        assert set(container["resources"]["limits"]) == {"memory"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert all({"secret", "emptyDir"} & set(volume) for volume in pod["volumes"])


@pytest.mark.parametrize("name", PODS)
def test_pod_commands_exist(name: str) -> None:
    (container,) = PODS[name]["containers"]

    call = [*container.get("command", ["dsar-scheduler"]), *container.get("args", [])]
    if call != ["dsar-scheduler", "run"]:
        assert_command_exists(call)
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        if probe in container:
            assert_command_exists(container[probe]["exec"]["command"])


def test_pod_grace_longer_than_drain_and_margins() -> None:
    sweeping = [pod for name, pod in PODS.items() if "scheduler" in name or "sweep" in name]

    assert len(sweeping) == 2
    for pod in sweeping:
        assert pod["terminationGracePeriodSeconds"] > LONGEST_STOP
    drain = DOCUMENTS["configmap.yaml:ConfigMap:dsar"]["data"]["DSAR_DRAIN_SECONDS"]
    assert float(drain) == Settings.model_fields["drain_seconds"].default


def test_metrics_component_scrapes_the_pods_own_loopback_address() -> None:
    (patch,) = PARTS["metrics"]["patches"]
    patched = yaml.safe_load(patch["patch"])
    name = f"deployment.yaml:{patched['kind']}:{patched['metadata']['name']}"
    whole = copy.deepcopy(DOCUMENTS[name])
    pod, added = whole["spec"]["template"]["spec"], patched["spec"]["template"]["spec"]
    (scheduler,), (setting, agent) = pod["containers"], added["containers"]
    assert setting["name"] == scheduler["name"]
    scheduler["env"] += setting["env"]
    pod["containers"].append(agent)
    pod["volumes"] += added["volumes"]

    kubernetes_validate.validate(whole, "1.34", strict=True)

    (listen,) = setting["env"]
    assert listen["name"] == "DSAR_METRICS_LISTEN"
    assert isinstance(parse_address(listen["value"]), Address)  # a loopback one, or it is refused
    config = DOCUMENTS["agent.yaml:ConfigMap:dsar-metrics"]["data"]["prometheus.yml"]
    (scraped,) = yaml.safe_load(config)["scrape_configs"]
    assert scraped["job_name"].startswith("dsar")  # as the alert rules expect
    assert scraped["static_configs"] == [{"targets": [listen["value"]]}]
    assert agent["securityContext"] == scheduler["securityContext"]
    assert "--web.listen-address=127.0.0.1:9090" in agent["args"]
    assert re.search(r":v[0-9][0-9.]*$", agent["image"])
    assert {each["name"] for each in added["volumes"]} == {
        mount["name"] for mount in agent["volumeMounts"]
    }


def test_metrics_component_is_off_until_it_is_named() -> None:
    text = (KUBERNETES / "scheduler" / "kustomization.yaml").read_text()

    assert PARTS["scheduler"]["components"] == ["../release"]
    # Before the release, which gives everything that stands before it the namespace.
    named = yaml.safe_load(text.replace("# - ../metrics", "- ../metrics"))
    assert named["components"] == ["../metrics", "../release"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_metrics_component_agent_passes_promtool(tmp_path: Path) -> None:
    path = tmp_path / "prometheus.yml"
    path.write_text(DOCUMENTS["agent.yaml:ConfigMap:dsar-metrics"]["data"]["prometheus.yml"])

    done = subprocess.run(
        ["promtool", "check", "config", "--agent", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_cronjob_sweeps_never_overlap() -> None:
    spec = DOCUMENTS["cronjob.yaml:CronJob:dsar-sweep"]["spec"]

    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["jobTemplate"]["spec"]["backoffLimit"] == 0


def test_settings_of_cluster_files_exist() -> None:
    for path in [*KUBERNETES.rglob("*.yaml"), ROOT / "deploy" / "container" / "compose.yaml"]:
        named = set(re.findall(r"DSAR_[A-Z_]+", path.read_text()))
        assert named <= NAMES, path


def test_compose_scheduler_waits_for_the_migration_and_drains() -> None:
    services = COMPOSE["services"]
    scheduler = services["scheduler"]

    waits_for = scheduler["depends_on"]
    assert waits_for["migrate"] == {"condition": "service_completed_successfully"}
    assert int(scheduler["stop_grace_period"].removesuffix("s")) > LONGEST_STOP
    assert_command_exists([*services["migrate"]["entrypoint"], *services["migrate"]["command"]])
    for name in ("scheduler", "migrate"):
        assert services[name]["image"] == f"levqor-dsar:{VERSION}"
        assert services[name]["read_only"] is True
        assert services[name]["cap_drop"] == ["ALL"]


def test_compose_secrets_are_files_and_images_are_pinned() -> None:
    used = {each for service in COMPOSE["services"].values() for each in service.get("secrets", [])}

    assert used == set(COMPOSE["secrets"])
    for service in COMPOSE["services"].values():
        assert re.search(r":[0-9][0-9.]*$", service["image"]), service["image"]
        for key, value in service.get("environment", {}).items():
            if "KEY" in key or "PASSWORD" in key:
                assert re.match(r"\$\{[A-Z_]+:\?\}$|/run/secrets/", value), key
    named = {
        name for service in COMPOSE["services"].values() for name in service.get("depends_on", {})
    }
    assert named <= set(COMPOSE["services"])


def test_compose_bucket_that_is_there_lets_the_scheduler_start() -> None:
    """The scheduler waits for this service to end well, at each `up` anew."""
    (command,) = COMPOSE["services"]["bucket"]["command"]

    looks, makes = command.split("||")
    assert "s3.bucket.list" in looks and "grep -qw dsar" in looks
    assert "s3.bucket.create -name dsar" in makes
