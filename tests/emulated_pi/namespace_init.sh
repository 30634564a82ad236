#!/bin/bash
# Pid 1 of the namespace board: mounts a fresh copy of the image, registers the emulator, and becomes sshd.
# Arguments: image folder, empty folder for mounts, qemu-aarch64, CPU model, port.
set -eu
root=$1 work=$2 qemu=$3 cpu=$4 port=$5
# The starter maps our user to root; until then we may do nothing.
n=0; until [ "$(id -u)" = 0 ]; do sleep 0.02; n=$((n + 1)); [ $n -lt 500 ]; done
mount --make-rprivate /
hostname raspberrypi
# What is written goes to memory: the image stays as it is, and every start is a fresh board.
mount -t tmpfs -o mode=755 tmpfs "$work"
mkdir "$work"/{up,work,mnt}
mount -t overlay -o "lowerdir=$root,upperdir=$work/up,workdir=$work/work" overlay "$work/mnt"
new=$work/mnt
mount -t proc proc "$new/proc"
mount --rbind /sys "$new/sys" # without it XNNPACK finds no CPU and is silently left out
mount -t tmpfs -o mode=1777 tmpfs "$new/tmp"
mount -t tmpfs -o mode=755 tmpfs "$new/dev"
for node in null zero full random urandom tty; do : > "$new/dev/$node"; mount --bind /dev/$node "$new/dev/$node"; done
mkdir "$new/dev/pts" "$new/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts "$new/dev/pts"
ln -s pts/ptmx "$new/dev/ptmx"
ln -s /proc/self/fd "$new/dev/fd"
mount -t tmpfs -o mode=1777 tmpfs "$new/dev/shm"
# A user namespace has a binfmt_misc table of its own (Linux 6.7): the host's stays empty.
mount -t binfmt_misc none "$new/proc/sys/fs/binfmt_misc"
zeros='\x00\x00\x00\x00\x00\x00\x00\x00' ones='\xff\xff\xff\xff\xff\xff\xff'
printf %s ":pi:M::\x7fELF\x02\x01\x01\x00$zeros\x02\x00\xb7\x00:$ones\x00\xff$ones\xfe\xff\xff\xff:$qemu:OCF" \
  > "$new/proc/sys/fs/binfmt_misc/register"
export QEMU_CPU=$cpu
exec chroot "$new" /usr/sbin/sshd -D -e -p "$port" -o ListenAddress=127.0.0.1
