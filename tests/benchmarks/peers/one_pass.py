"""One pass over a table, by numpy's matrix product on all cores: what no fit can do without."""

from typing import Any

from tests.benchmarks.peers.answering import Ready, answer_requests
from tests.benchmarks.workloads import Job


def prepare(jobs: list[Job]) -> Ready[Any]:
    """XᵀX of the job's features."""
    (job,) = jobs
    return Ready(lambda: job.x.T @ job.x, lambda product: None)


if __name__ == "__main__":
    answer_requests(prepare, ("numpy",))
