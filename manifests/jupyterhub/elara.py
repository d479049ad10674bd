# For a JupyterHub with KubeSpawner 7: its users' notebook servers have their kernels at Elara.
# docs/jupyterhub.md says how a hub loads this. values.yaml says the same for the hub's Helm chart.
c = get_config()  # noqa: F821

HOME = "/home/jovyan"  # home_mount of the gateway
NOT_ROOT = {
    "runAsUser": 1000,
    "runAsGroup": 100,
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}

# $(NAME) is what the pod has as NAME: the hub gives it the token and the user's name.
c.KubeSpawner.environment.update({
    "JUPYTER_GATEWAY_URL": "http://enterprise-gateway.elara:8888",
    "JUPYTER_GATEWAY_AUTH_TOKEN": "$(JUPYTERHUB_API_TOKEN)",
    "KERNEL_USERNAME": "$(JUPYTERHUB_USER)",
})

# The home, of the claim that has all homes. {escaped_username} is what the gateway calls
# home_user_names: hub. It is made before the server mounts it: a kubelet would give it to root.
c.KubeSpawner.uid = 1000
c.KubeSpawner.fs_gid = 100
c.KubeSpawner.volumes = {"home": {"name": "home", "persistentVolumeClaim": {"claimName": "homes"}}}
c.KubeSpawner.volume_mounts = {
    "home": {"name": "home", "mountPath": HOME, "subPath": "{escaped_username}"},
}
c.KubeSpawner.init_containers = [{
    "name": "home",
    "image": "quay.io/jupyterhub/k8s-singleuser-sample:4.4.0",  # any that has mkdir
    "command": ["mkdir", "-p", "-m", "0700", "/homes/{escaped_username}"],
    "volumeMounts": [{"name": "home", "mountPath": "/homes"}],
    "securityContext": NOT_ROOT,
}]


def choice(name, **variables):
    return {"display_name": name, "kubespawner_override": {"environment": variables}}


# What the user chooses is what each of his kernels has. The gateway's policy says what he may.
c.KubeSpawner.profile_list = [{
    "display_name": "Notebooks",
    "slug": "notebooks",
    "profile_options": {
        "image": {
            "display_name": "Image of the kernels",
            "choices": {
                "python": choice("Python", KERNEL_IMAGE="quay.io/jupyter/base-notebook"),
                "science": choice("Science", KERNEL_IMAGE="quay.io/jupyter/scipy-notebook"),
                "pytorch": choice(
                    "PyTorch", KERNEL_IMAGE="quay.io/jupyter/pytorch-notebook:cuda12-latest"),
            },
        },
        "size": {
            "display_name": "Size of each kernel",
            "choices": {
                "small": choice("1 CPU, 2 GiB", KERNEL_CPUS="1",
                                KERNEL_MEMORY="2Gi", KERNEL_MEMORY_LIMIT="2Gi"),
                "large": choice("4 CPUs, 16 GiB", KERNEL_CPUS="4",
                                KERNEL_MEMORY="16Gi", KERNEL_MEMORY_LIMIT="16Gi"),
                "gpu": choice("4 CPUs, 16 GiB, a GPU", KERNEL_CPUS="4",
                              KERNEL_MEMORY="16Gi", KERNEL_MEMORY_LIMIT="16Gi",
                              KERNEL_GPUS="1", KERNEL_GPUS_LIMIT="1"),
            },
        },
    },
}]
