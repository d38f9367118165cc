/* floor ROOT [MEMORY]: makes a container of the kernel's calls alone, as ctr's default configuration has it, and prints the milliseconds from clone to
   execve ("start") and to the end of /bin/true ("whole"). No checks of what is there, no report of errors but the line: it is a stopwatch. With the directory of a memory cgroup, the container is
   in it from its first instruction on, is ended before execve, and what was charged is printed instead, in bytes. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK(call) do { if ((call) < 0) { dprintf(2, "line %d: %s: %s\n", __LINE__, #call, strerror(errno)); _exit(1); } } while (0)

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static void join(const char *memory)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof path, "%s/tasks", memory);
	CHECK(fd = open(path, O_WRONLY));
	CHECK(write(fd, "0", 1));
	close(fd);
}

static long charged(const char *memory, const char *file)
{
	char path[4096], text[32] = "";
	int fd;

	snprintf(path, sizeof path, "%s/%s", memory, file);
	CHECK(fd = open(path, O_RDONLY));
	CHECK(read(fd, text, sizeof text - 1));
	close(fd);
	return atol(text);
}

/* pages is what the cgroup counts of anonymous pages and of files', exactly. */
static long pages(const char *memory)
{
	char path[4096], name[64];
	long value, sum = 0;
	FILE *f;

	snprintf(path, sizeof path, "%s/memory.stat", memory);
	f = fopen(path, "r");
	CHECK(f ? 0 : -1);
	while (fscanf(f, "%63s %ld", name, &value) == 2)
		if (!strcmp(name, "rss") || !strcmp(name, "cache"))
			sum += value;
	fclose(f);
	return sum;
}

static void child(const char *root, const char *memory, int done)
{
	static const struct { const char *name; int minor; } nodes[] = { { "null", 3 }, { "zero", 5 }, { "full", 7 }, { "random", 8 }, { "urandom", 9 } };
	static const char *masked[] = { "proc/kcore", "proc/keys", "proc/timer_list" };
	static const char *fixed[] = { "proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger" };
	int i;

	if (memory)
		join(memory);
	CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	CHECK(mount(root, root, NULL, MS_BIND | MS_REC, NULL));
	CHECK(chdir(root));
	CHECK(mount("proc", "proc", "proc", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL));
	CHECK(mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"));
	CHECK(mkdir("dev/pts", 0755));
	CHECK(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"));
	CHECK(mkdir("dev/shm", 0755));
	CHECK(mount("shm", "dev/shm", "tmpfs", MS_NOSUID | MS_NOEXEC | MS_NODEV, "mode=1777,size=65536k"));
	CHECK(mkdir("dev/mqueue", 0755));
	CHECK(mount("mqueue", "dev/mqueue", "mqueue", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL));
	CHECK(mount("sysfs", "sys", "sysfs", MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RDONLY, NULL));
	CHECK(mount("tmpfs", "run", "tmpfs", MS_NOSUID | MS_STRICTATIME | MS_NODEV, "mode=755,size=65536k"));
	umask(0);
	for (i = 0; i < 5; i++) {
		char path[64];
		snprintf(path, sizeof path, "dev/%s", nodes[i].name);
		CHECK(mknod(path, S_IFCHR | 0666, makedev(1, nodes[i].minor)));
	}
	CHECK(mknod("dev/tty", S_IFCHR | 0666, makedev(5, 0)));
	CHECK(symlink("pts/ptmx", "dev/ptmx"));
	CHECK(symlink("/proc/self/fd", "dev/fd"));
	CHECK(symlink("/proc/self/fd/0", "dev/stdin"));
	CHECK(symlink("/proc/self/fd/1", "dev/stdout"));
	CHECK(symlink("/proc/self/fd/2", "dev/stderr"));
	CHECK(syscall(SYS_pivot_root, ".", "."));
	CHECK(umount2(".", MNT_DETACH));
	CHECK(chdir("/"));
	for (i = 0; i < 3; i++)
		if (mount("/dev/null", masked[i], NULL, MS_BIND, NULL) < 0 && errno != ENOENT)
			CHECK(-1);
	for (i = 0; i < 5; i++) {
		if (mount(fixed[i], fixed[i], NULL, MS_BIND | MS_REC, NULL) < 0 && errno != ENOENT)
			CHECK(-1);
		mount(NULL, fixed[i], NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	}
	CHECK(sethostname("bench", 5));
	(void)done; /* closed by execve: that is the parent's end of file */
	if (memory) {
		close(done);
		pause();
	}
	execl("/bin/true", "true", NULL);
	CHECK(-1);
}

int main(int argc, char **argv)
{
	struct clone_args args = { .flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP, .exit_signal = SIGCHLD };
	int pipes[2], status;
	double begin, executed;
	char byte;
	long pid;

	if (argc != 2 && argc != 3)
		return 2;
	CHECK(pipe2(pipes, O_CLOEXEC));
	begin = now();
	CHECK(pid = syscall(SYS_clone3, &args, sizeof args));
	if (pid == 0)
		child(argv[1], argv[2], pipes[1]);
	close(pipes[1]);
	CHECK(read(pipes[0], &byte, 1));
	executed = now();
	if (argv[2]) {
		printf("created=%ld most=%ld pages=%ld\n", charged(argv[2], "memory.usage_in_bytes"), charged(argv[2], "memory.max_usage_in_bytes"), pages(argv[2]));
		CHECK(kill(pid, SIGKILL));
		CHECK(waitpid(pid, &status, 0));
		return 0;
	}
	CHECK(waitpid(pid, &status, 0));
	printf("start=%.4f whole=%.4f\n", executed - begin, now() - begin);
	return status != 0;
}
