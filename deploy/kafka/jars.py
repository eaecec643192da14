"""Apache Kafka's jars, brought by Maven once: what `pom.xml` names and needs, copied to `var/kafka` of the checkout.

`python -m deploy.kafka.jars` says whether a node could be started here: exit code 0, or 1 and a line that says what is missing.
"""

import functools
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from deploy.embedded.supervisor import CannotStart

POM = Path(__file__).with_name("pom.xml")
KEPT = Path(__file__).parents[2] / "var" / "kafka"  # of the checkout, whatever TONGCUN_VAR says: an installation may be anywhere, and many
JAVA = 17  # the oldest that Kafka 4's broker runs on
WITHIN_S = 600
ASKED_WITHIN_S = 20


def missing() -> str:
    """One line on what has to be installed first; empty where nothing is."""
    if shutil.which("java") is None or _java_version() < JAVA:
        return f"Apache Kafka needs Java {JAVA} or newer (Debian, Ubuntu: openjdk-{JAVA}-jre-headless) / 需要 Java {JAVA} 或更高版本"
    if shutil.which("mvn") is None and not _place().exists():
        return "Apache Kafka comes by Maven: install it (Debian, Ubuntu: maven) / 需要 Maven 来获取 Apache Kafka"
    return ""


@functools.cache
def class_path() -> str:
    """For `java -cp`. Raises CannotStart if the jars are not there and cannot be brought."""
    if why := missing():
        raise CannotStart(why)
    if not _place().exists():
        _bring(_place())
    return f"{_place()}/*"


def version() -> str:
    """The Kafka version that pom.xml names."""
    found = re.search(r"kafka_[\d.]+</artifactId>\s*<version>([^<]+)<", POM.read_text())
    assert found, "pom.xml names no Kafka"
    return found[1]


def _place() -> Path:
    """Another pom.xml, another directory: one that exists is whole."""
    return KEPT / f"{version()}-{hashlib.sha256(POM.read_bytes()).hexdigest()[:8]}"


def _bring(place: Path) -> None:
    KEPT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=KEPT, prefix=".bringing-") as unfinished:
        jars = Path(unfinished, "jars")
        command = ["mvn", "--batch-mode", "--quiet", "--file", str(POM), "dependency:copy-dependencies"]
        try:
            mvn = subprocess.run(
                [*command, "-DincludeScope=runtime", f"-DoutputDirectory={jars}"],
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=WITHIN_S, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise CannotStart(f"Maven did not bring Apache Kafka within {WITHIN_S} s: check the network / 获取超时,请检查网络") from None
        if mvn.returncode:
            said = [line for line in mvn.stdout.splitlines() if line.startswith("[ERROR]")] or [mvn.stderr.strip()]
            raise CannotStart(f"Maven could not bring Apache Kafka: {said[0]} / Maven 未能获取 Apache Kafka")
        if not place.exists():  # somebody else may have brought them meanwhile
            jars.rename(place)


def _java_version() -> int:
    """17 of `openjdk version "17.0.15"`; 0 where it does not say."""
    said = subprocess.run(["java", "-version"], capture_output=True, text=True, timeout=ASKED_WITHIN_S, check=False).stderr
    found = re.search(r'version "(\d+)', said)
    return int(found[1]) if found else 0


if __name__ == "__main__":
    sys.exit(missing() or 0)
