/* Hosts and the links between them, on one machine.
 *
 *   links HOSTS BYTES_PER_S DELAY_S MTU HOSTS_FILE
 *
 * Each host is a network and host-name namespace with one interface, e0 (10.231.7.<i+1>), which is
 * a TUN device whose other end is here. A packet leaves its sender at BYTES_PER_S, one after the
 * other, and arrives DELAY_S later. There is no way out: what is not for a host is dropped. Only
 * what a host sends is limited; it receives what comes.
 *
 * The namespaces have no names, and live as long as the sleeping processes whose numbers are
 * printed ("ready PID PID ..."). These die with this program, and it ends when its standard input
 * does: nothing can be left behind.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MOST_HOSTS 64
#define MOST_PACKETS 4096 /* waiting at one host: 36 MB of large frames; it then sends no more */
#define MOST_BYTES 65536
#define AT_ONCE 16

typedef long long ns_t;

struct packet {
    ns_t due;
    int bytes, to;
    unsigned char *data;
};

struct host {
    int tun;
    struct packet queue[MOST_PACKETS]; /* a ring, in order of arrival */
    int first, count;
    ns_t link_free;
};

static struct host hosts[MOST_HOSTS];
static int holders[MOST_HOSTS];

static void die(const char *what) {
    perror(what);
    exit(1);
}

static ns_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void settle(int control, struct ifreq *request, unsigned long what) {
    if (ioctl(control, what, request)) die("cannot set up an interface");
}

static void write_to(const char *path, const char *text) {
    int file = open(path, O_WRONLY);
    if (file < 0 || write(file, text, strlen(text)) < 0) perror(path); /* not worth failing for */
    if (file >= 0) close(file);
}

/* Open e0 in the current network namespace, give it its address and bring it up. */
static int interface_of(int host, int mtu) {
    int tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK), control = socket(AF_INET, SOCK_DGRAM, 0);
    struct ifreq request = {0};
    struct sockaddr_in *address = (struct sockaddr_in *)&request.ifr_addr;
    if (tun < 0) die("/dev/net/tun");
    strcpy(request.ifr_name, "e0");
    request.ifr_flags = IFF_TUN | IFF_NO_PI;
    if (ioctl(tun, TUNSETIFF, &request)) die("cannot make a TUN device");
    address->sin_family = AF_INET;
    address->sin_addr.s_addr = htonl(0x0ae70701 + host); /* 10.231.7.1 and on */
    settle(control, &request, SIOCSIFADDR);
    address->sin_addr.s_addr = htonl(0xffffff00);
    settle(control, &request, SIOCSIFNETMASK);
    request.ifr_mtu = mtu;
    settle(control, &request, SIOCSIFMTU);
    request.ifr_qlen = MOST_PACKETS;
    settle(control, &request, SIOCSIFTXQLEN);
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    settle(control, &request, SIOCSIFFLAGS);
    strcpy(request.ifr_name, "lo");
    settle(control, &request, SIOCSIFFLAGS);
    close(control);
    return tun;
}

/* Start the process that holds the current namespaces. */
static int holder(void) {
    int parent = getpid(), child = fork();
    if (child < 0) die("fork");
    if (child > 0) return child;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int file = 0; file < 3 + MOST_HOSTS; file++) close(file);
    while (getppid() == parent) pause();
    _exit(0);
}

static void start(int count, int mtu, const char *hosts_file) {
    if (unshare(CLONE_NEWNS)) die("namespaces are not permitted here");
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) die("mount");
    if (mount(hosts_file, "/etc/hosts", NULL, MS_BIND, NULL)) die("/etc/hosts");
    for (int i = 0; i < count; i++) {
        char name[16];
        if (unshare(CLONE_NEWNET | CLONE_NEWUTS)) die("namespaces are not permitted here");
        snprintf(name, sizeof name, "host%d", i);
        if (sethostname(name, strlen(name))) die("sethostname");
        hosts[i].tun = interface_of(i, mtu);
        write_to("/proc/sys/net/ipv4/tcp_congestion_control", "reno");
        holders[i] = holder();
    }
    printf("ready");
    for (int i = 0; i < count; i++) printf(" %d", holders[i]);
    printf("\n");
    fflush(stdout);
}

/* Take what a host has sent and set when each packet arrives. */
static void take(struct host *from, int count, double bytes_per_s, ns_t delay) {
    unsigned char data[MOST_BYTES];
    for (int turn = 0; turn < AT_ONCE && from->count < MOST_PACKETS; turn++) {
        int bytes = read(from->tun, data, sizeof data);
        if (bytes < 20) return;
        int to = data[0] >> 4 == 4 ? data[19] - 1 : -1; /* last part of the IPv4 destination */
        if (to < 0 || to >= count || &hosts[to] == from) continue;
        ns_t t = now();
        struct packet *packet = &from->queue[(from->first + from->count++) % MOST_PACKETS];
        if (from->link_free < t) from->link_free = t;
        from->link_free += (ns_t)(bytes * 1e9 / bytes_per_s);
        packet->due = from->link_free + delay;
        packet->bytes = bytes;
        packet->to = to;
        packet->data = malloc(bytes);
        if (!packet->data) die("malloc");
        memcpy(packet->data, data, bytes);
    }
}

static void deliver(struct host *from) {
    while (from->count && from->queue[from->first].due <= now()) {
        struct packet *packet = &from->queue[from->first];
        if (write(hosts[packet->to].tun, packet->data, packet->bytes) < 0) perror("lost a packet");
        free(packet->data);
        from->first = (from->first + 1) % MOST_PACKETS;
        from->count--;
    }
}

static void carry(int count, double bytes_per_s, ns_t delay) {
    struct pollfd polled[MOST_HOSTS + 1];
    for (;;) {
        ns_t next = -1;
        for (int i = 0; i < count; i++) {
            struct host *host = &hosts[i];
            polled[i] = (struct pollfd){host->tun, host->count < MOST_PACKETS ? POLLIN : 0, 0};
            if (host->count && (next < 0 || host->queue[host->first].due < next))
                next = host->queue[host->first].due;
        }
        polled[count] = (struct pollfd){0, 0, 0}; /* standard input: its end is ours */
        ns_t wait = next < 0 ? 0 : next - now();
        if (wait < 0) wait = 0;
        struct timespec timeout = {wait / 1000000000LL, wait % 1000000000LL};
        ppoll(polled, count + 1, next < 0 ? NULL : &timeout, NULL);
        if (polled[count].revents) return;
        for (int i = 0; i < count; i++)
            if (polled[i].revents & POLLIN) take(&hosts[i], count, bytes_per_s, delay);
        for (int i = 0; i < count; i++) deliver(&hosts[i]);
    }
}

int main(int argc, char **argv) {
    struct sched_param first = {1};
    if (argc != 6) return 2;
    int count = atoi(argv[1]);
    if (count < 1 || count > MOST_HOSTS) return 2;
    start(count, atoi(argv[4]), argv[5]);
    prctl(PR_SET_TIMERSLACK, 1000);
    sched_setscheduler(0, SCHED_FIFO, &first); /* a link does not wait for the hosts' cores */
    carry(count, atof(argv[2]), (ns_t)(atof(argv[3]) * 1e9));
    for (int i = 0; i < count; i++) kill(holders[i], SIGKILL);
    while (wait(NULL) > 0);
    return 0;
}
