"""A Ray cluster without our runtime is told apart from a model that fails, with the line to install it."""

from internvl_operator import VERSION


def test_the_status_gives_the_line_that_installs_the_runtime(services, ray, start_operator, eventually):
    start_operator(ray_address=ray.dashboard_url, serve_http_host="127.0.0.1", serve_http_port=ray.serve_port)
    services.create("bare")

    eventually(
        lambda: services.condition("bare") == ("False", "RuntimeMissing"), "RuntimeMissing", within_s=180
    )

    conditions = (services.get("bare") or {})["status"]["conditions"]
    message = next(item["message"] for item in conditions if item["type"] == "Ready")
    assert f'pip install "internvl-operator[runtime]=={VERSION}"' in message
    services.delete("bare")
    eventually(lambda: services.get("bare") is None, "it is gone", within_s=180)
