"""The kernel modules that the installer carries: what it takes to reach a network, a disk and ext4."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from images.build.architecture import Root
from images.build.host import BuildError

# Those that a kernel does not have, as a cloud kernel lacks most, are left out.
WANTED = (
    # virtual machines
    *("virtio_pci", "virtio_mmio", "virtio_blk", "virtio_scsi", "virtio_net", "virtio_rng", "vmxnet3", "vmw_pvscsi"),
    *("hv_vmbus", "hv_storvsc", "hv_netvsc", "xen_blkfront", "xen_netfront"),
    # disks and their controllers
    *("nvme", "vmd", "ahci", "ata_piix", "ata_generic", "sd_mod", "mpt3sas", "mpi3mr", "megaraid_sas", "smartpqi"),
    *("hpsa", "aacraid", "arcmsr", "isci", "mvsas", "pm80xx", "sata_mv", "3w_sas"),
    *("ahci_platform", "ahci_xgene", "hisi_sas_v3_hw"),
    # network cards
    *("e1000", "e1000e", "igb", "igbvf", "igc", "ixgbe", "ixgbevf", "i40e", "iavf", "ice"),
    *("tg3", "bnx2", "bnx2x", "bnxt_en", "mlx4_en", "mlx5_core", "qede", "qlcnic", "netxen_nic", "be2net", "enic"),
    *("cxgb4", "cxgb4vf", "sfc", "sfc_falcon", "nfp", "ionic", "hinic", "liquidio", "amd_xgbe", "atlantic", "r8169"),
    *("ena", "gve", "mana", "forcedeth", "sky2", "alx", "atl1c"),
    *("nicvf", "thunder_bgx", "nicpf", "thunder_xcv", "xgene_enet", "xgene_enet_v2", "hns3", "hclge", "rvu_nicpf"),
    # the BMC, and an operator's keyboard, which the BMC's console shows as one on USB
    *("ipmi_si", "ipmi_ssif", "ipmi_devintf", "tpm_tis", "tpm_crb"),
    *("xhci_pci", "ehci_pci", "uhci_hcd", "ohci_pci", "usbhid", "hid_generic", "i2c_i801"),
    # file systems, and the checksum that ext4 asks the kernel's crypto for by name
    *("ext4", "crc32c_generic", "crc32c_intel"),
)


def collect(system: Root, target: Path, wanted: Iterable[str] = WANTED) -> str:
    """Copy the wanted modules of the system's one kernel, and all that they need, to `target`; the kernel's release.

    The system has kmod, too, and `target` lies in its tree. Raises BuildError when it has not exactly one kernel.
    """
    tree = system.tree
    releases = sorted(path.name for path in (tree / "lib/modules").iterdir())
    if len(releases) != 1:
        raise BuildError(f"expected one kernel below {tree}, found {releases or 'none'}")
    release = releases[0]
    source = tree / "lib/modules" / release
    needs = _dependencies(system, release)
    by_name = {Path(path).name.split(".")[0].replace("-", "_"): path for path in needs}
    chosen: set[str] = set()
    for name in wanted:
        if path := by_name.get(name):
            chosen |= {path, *needs[path]}
    folder = target / "lib/modules" / release
    for name in sorted(chosen):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, folder / name)
    _firmware(system, [f"/lib/modules/{release}/{name}" for name in sorted(chosen)], target)
    for name in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
        shutil.copyfile(source / name, folder / name)
    system.run(["/sbin/depmod", "-b", f"/{target.relative_to(tree)}", release])
    for index in folder.glob("modules.*"):  # busybox reads the texts only
        if index.name not in ("modules.dep", "modules.alias", "modules.softdep"):
            index.unlink()
    return release


def _dependencies(system: Root, release: str) -> dict[str, list[str]]:
    system.run(["/sbin/depmod", release])
    needs = {}
    for line in (system.tree / "lib/modules" / release / "modules.dep").read_text(encoding="utf-8").splitlines():
        path, _, rest = line.partition(":")
        needs[path] = rest.split()
    return needs


def _firmware(system: Root, drivers: list[str], target: Path) -> None:
    """Copy the firmware files that the drivers name, as far as the system has any."""
    folder = system.tree / "lib/firmware"
    if not folder.is_dir():
        return
    for name in sorted(set(system.run(["/sbin/modinfo", "-F", "firmware", *drivers]).split())):
        if (folder / name).is_file():
            (target / "lib/firmware" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, target / "lib/firmware" / name)
