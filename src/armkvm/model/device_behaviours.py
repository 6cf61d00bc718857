"""How kernels differ in devices, in attributes of vCPUs and VMs, and in what running a VM asks of them."""

from __future__ import annotations

from armkvm.model.behaviour import behaviour

_TEST = "tests/differential/test_vgic.py"

GIC_FIELD_AT_CREATION = behaviour(
    "gic-field-at-creation",
    "Creating a GICv3 writes ID_AA64PFR0_EL1.GIC and ID_PFR1_EL1.GIC, whatever userspace had put there.",
    source="arch/arm64/kvm/vgic/vgic-init.c (kvm_vgic_create)",
    since="6.18",
    detect="the field set to 0 before KVM_CREATE_DEVICE reads 1 after it",
    test=f"{_TEST} (gic_field_then_device)",
)
GIC_FIELD_AT_FIRST_RUN = behaviour(
    "gic-field-at-first-run",
    "The first run of a VM with an in-kernel GIC writes those fields again; before, only a VM without one "
    "had them cleared.",
    source="arch/arm64/kvm/sys_regs.c (kvm_finalize_sys_regs)",
    since="7.1",
    detect="the field set to 0 after KVM_CREATE_DEVICE reads 1 after KVM_RUN",
    test=f"{_TEST} (gic_field_then_device)",
)
MAINTENANCE_IRQ = behaviour(
    "maintenance-irq",
    "A GICv3 has the attribute group KVM_DEV_ARM_VGIC_GRP_MAINT_IRQ.",
    source="arch/arm64/kvm/vgic/vgic-kvm-device.c",
    since="6.16",
    detect="KVM_HAS_DEVICE_ATTR(9, 0) on the device succeeds",
    test=f"{_TEST} (has_attr)",
)
DIST_ID_BEFORE_INIT = behaviour(
    "distributor-id-before-init",
    "GICD_IIDR and GICD_TYPER2 can be accessed before KVM_DEV_ARM_VGIC_CTRL_INIT, which TYPER2 is fixed by.",
    source="arch/arm64/kvm/vgic/vgic-kvm-device.c (reg_allowed_pre_init)",
    since="6.17",
    detect="reading GICD_IIDR of a new GICv3 is not EBUSY",
    test="tests/unit/test_vgic.py",
)
IIDR_REVISION_IGNORED = behaviour(
    "iidr-revision-ignored",
    "Writing GICD_IIDR succeeds whatever its Revision and changes nothing, by mistake.",
    source="arch/arm64/kvm/vgic/vgic-mmio-v3.c (vgic_mmio_uaccess_write_v3_misc)",
    since="before 6.14, until 7.0; fixed in 6.1 and 6.12 by stable releases",
    detect="writing Revision 2 succeeds and Revision still reads 3",
    test=f"{_TEST} (6.18: gicd_iidr)",
)
TIMER_IRQS_OF_VM = behaviour(
    "timer-irqs-of-vm",
    "A timer's PPI is the VM's, fixed by the first run that finds them valid; before, each vCPU had its "
    "own, a write changed those of all vCPUs that existed, and they had to agree.",
    source="arch/arm64/kvm/arch_timer.c",
    since="6.4",
    detect="a vCPU created after a write reads what was written",
    test="tests/unit/test_timer_irqs.py",
)
VM_ATTRIBUTES = behaviour(
    "vm-attributes",
    "A VM descriptor has attributes: the SMCCC filter.",
    source="arch/arm64/kvm/arm.c, hypercalls.c",
    since="6.4",
    detect="KVM_HAS_DEVICE_ATTR(0, 0) on a VM succeeds",
    test="tests/unit/test_smccc_filter.py",
)
NON_ID_MASKS = behaviour(
    "non-id-masks",
    "Range 1 of KVM_ARM_GET_REG_WRITABLE_MASKS covers registers that are no ID registers but have read-only "
    "fields, ICC_CTLR_EL1 and with EL2 ICH_VTR_EL2; those fields belong to the VM, so that what a guest was "
    "told elsewhere can be kept where the host promises more.",
    source="proposed on the kvmarm list, February 2024; in no kernel",
    since="never",
    detect="KVM_CAP_ARM_SUPPORTED_REG_MASK_RANGES is 3",
    test="tests/unit/test_non_id_masks.py",
    needs="writable-id-registers",
)
