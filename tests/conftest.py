"""What all tests share."""

pytest_plugins = ["tests.vllm_server", "tests.finished_run"]
