/* The floor of the floor: one SVE vCPU's registers read and written back in C. Prints the median
 * seconds of a round. Built static for arm64 by bench/kvm_cost.py where a compiler can be had. */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>

#define SVE 4
#define PSCI 2

static char values[1 << 20];
static struct kvm_one_reg calls[4096];

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 30, count = 0, feature = SVE;
	int kvm = open("/dev/kvm", O_RDWR), vm = ioctl(kvm, KVM_CREATE_VM, 0), vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	struct kvm_vcpu_init init = {0};
	struct kvm_reg_list *list = calloc(1, 8 + 8 * 4096);
	double *times = calloc(rounds, sizeof *times);
	char *next = values;

	if (ioctl(vm, KVM_ARM_PREFERRED_TARGET, &init))
		return 1;
	init.features[0] |= 1 << SVE | 1 << PSCI;
	list->n = 4096;
	if (ioctl(vcpu, KVM_ARM_VCPU_INIT, &init) || ioctl(vcpu, KVM_ARM_VCPU_FINALIZE, &feature) ||
	    ioctl(vcpu, KVM_GET_REG_LIST, list))
		return 1;
	for (unsigned i = 0; i < list->n; i++) {
		struct kvm_one_reg reg = {list->reg[i], (unsigned long)next};
		if (ioctl(vcpu, KVM_GET_ONE_REG, &reg) || ioctl(vcpu, KVM_SET_ONE_REG, &reg))
			continue;
		calls[count++] = reg;
		next += 1 << (list->reg[i] >> 52 & 15);
	}
	for (int r = 0; r < rounds; r++) {
		double start = now();
		for (int i = 0; i < count; i++)
			ioctl(vcpu, KVM_GET_ONE_REG, &calls[i]);
		for (int i = 0; i < count; i++)
			ioctl(vcpu, KVM_SET_ONE_REG, &calls[i]);
		times[r] = now() - start;
	}
	qsort(times, rounds, sizeof *times, ascending);
	printf("%.9f\n", times[rounds / 2]);
	return 0;
}
