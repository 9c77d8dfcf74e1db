"""Find a Vulkan device for the tests: a GPU, or Mesa's software adapter lavapipe."""

from __future__ import annotations

import sys

import debian
import environment

PROBE = ("import wgpu; from wgpu.backends.wgpu_native.extras import set_instance_extras; "
         "set_instance_extras(backends=['Vulkan', 'Metal', 'DX12']); "
         "wgpu.gpu.request_adapter_sync().request_device_sync()")
PACKAGES = ("libvulkan1", "mesa-vulkan-drivers")


def is_available() -> bool:
    """Whether wgpu finds an adapter and gets a device from it."""
    return environment.run_quietly(environment.PYTHON, "-c", PROBE).returncode == 0


def install_with_apt() -> bool:
    """Debian's lavapipe, where this is Debian and the user is root."""
    if not debian.can_install(): return False
    print("no GPU was found", flush=True)
    return debian.install(*PACKAGES) and is_available()


def ensure() -> None:
    """Find or install a device; exits with a hint where there is none."""
    if not (is_available() or install_with_apt()):
        sys.exit("the tests of backend webgpu need a Vulkan driver and none could be found or "
                 "installed; install your GPU's driver, or `mesa-vulkan-drivers`, which needs none")
