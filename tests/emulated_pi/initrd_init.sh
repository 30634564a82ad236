#!/bin/busybox sh
# Finds the disk and hands over to the system on it.
B=/bin/busybox
$B mkdir /dev
$B mount -t devtmpfs dev /dev
for module in /m/*.ko; do $B insmod "$module"; done
n=0
while [ ! -b /dev/vda ] && [ $n -lt 100 ]; do $B sleep 0.1; n=$((n + 1)); done
$B mount -t ext4 /dev/vda /newroot
$B umount /dev
exec $B switch_root /newroot /sbin/edgeopt-init
