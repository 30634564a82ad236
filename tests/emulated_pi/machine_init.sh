#!/bin/bash
# Pid 1 of the virtual machine: mounts, one network card, sshd.
export PATH=/usr/sbin:/usr/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o ptmxmode=0666,gid=5,mode=0620 devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
ln -s /proc/self/fd /dev/fd
exec < /dev/console > /dev/console 2>&1
for module in /usr/lib/modules/vm/*.ko; do insmod "$module"; done
hostname raspberrypi
ip link set lo up
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
ip route add default via 10.0.2.2
mkdir -p /run/sshd
while :; do /usr/sbin/sshd -D -e; sleep 0.2; done
