"""Run in a hub's environment: the pods that KubeSpawner makes of a configuration, with no cluster.

    python user_pods.py FILE '[["alice", {"size": "gpu"}], ...]'

FILE: jupyterhub_config.py, or the values of the hub's Helm chart. Users come with what they have chosen in the form.
Prints a JSON list of the pods.
"""
import asyncio
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import yaml
from jupyterhub.app import JupyterHub
from kubespawner import KubeSpawner
from kubespawner.clients import shared_client
from traitlets.config import Config

HUB = SimpleNamespace(public_host="", url="http://hub:8081/hub/", base_url="/hub/", api_url="http://hub:8081/hub/api", server=None)
# What the chart's own configuration makes of its values: the spawner's setting, and the path of the value.
OF_THE_CHART = {"environment": "extraEnv", "uid": "uid", "fs_gid": "fsGid", "init_containers": "initContainers", "profile_list": "profileList"}


def load_configuration(path):
    app = JupyterHub()
    app.load_config_file(path)
    return app.config


def load_values(path):
    values = yaml.safe_load(path.read_text())["singleuser"]
    storage = values["storage"]
    assert storage["type"] == "static"
    home = {"mountPath": storage["homeMountPath"], "name": "home", "subPath": storage["static"]["subPath"]}
    claim = {"name": "home", "persistentVolumeClaim": {"claimName": storage["static"]["pvcName"]}}
    return Config(KubeSpawner={name: values[key] for name, key in OF_THE_CHART.items()} | {"volumes": {"home": claim}, "volume_mounts": {"home": home}})


async def pod_of(config, user, chosen):
    spawner = KubeSpawner(_mock=True, config=config, hub=HUB, api_token=f"token of {user}",
                          user=SimpleNamespace(name=user, id=1, url=f"/user/{user}/", escaped_name=user))
    spawner.user_options = chosen
    await spawner.load_user_options()
    pod = await spawner.get_pod_manifest()
    return shared_client("CoreV1Api").api_client.sanitize_for_serialization(pod)


async def main():
    path = Path(sys.argv[1]).resolve()
    config = load_values(path) if path.suffix == ".yaml" else load_configuration(path)
    print(json.dumps([await pod_of(config, user, chosen) for user, chosen in json.loads(sys.argv[2])]))


asyncio.run(main())
