"""A notebook server that knows the gateway's kernels again after it was killed. jupyter_server by itself forgets them: its notebooks then get new kernels,
whatever the gateway keeps."""
import json

from jupyter_server.gateway.gateway_client import gateway_request
from jupyter_server.gateway.managers import GatewayMappingKernelManager


class RememberingKernelManager(GatewayMappingKernelManager):
    async def list_kernels(self, **options):
        answer = await gateway_request(self.kernels_url, method="GET")
        for model in json.loads(answer.body):
            if model["id"] not in self._kernels:
                await self.start_kernel(kernel_id=model["id"])
        return await super().list_kernels(**options)


c.ServerApp.kernel_manager_class = RememberingKernelManager  # noqa: F821
