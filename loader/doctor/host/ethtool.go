package host

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"weir/loader/doctor"
)

// Flags that ETHTOOL_GFLAGS answers (linux/ethtool.h).
const (
	flagRXVLAN = 1 << 8
	flagLRO    = 1 << 15
)

type ethtoolValue struct{ cmd, data uint32 }

// ethtoolChannels is struct ethtool_channels: what is possible, what is set.
type ethtoolChannels struct {
	cmd                                 uint32
	maxRX, maxTX, maxOther, maxCombined uint32
	rx, tx, other, combined             uint32
}

// askDriver fills in what the driver says. It need not answer everything.
func askDriver(l *doctor.Link) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a socket: %w", err)
	}
	defer unix.Close(fd)
	if info, err := unix.IoctlGetEthtoolDrvinfo(fd, l.Name); err == nil {
		l.Driver = unix.ByteSliceToString(info.Driver[:])
	}
	flags := ethtoolValue{cmd: unix.ETHTOOL_GFLAGS}
	channels := ethtoolChannels{cmd: unix.ETHTOOL_GCHANNELS}
	if err := ethtool(fd, l.Name, unsafe.Pointer(&flags)); err != nil {
		return err
	}
	if err := ethtool(fd, l.Name, unsafe.Pointer(&channels)); err != nil {
		return err
	}
	l.LRO, l.StripsVLAN = flags.data&flagLRO != 0, flags.data&flagRXVLAN != 0
	if channels.rx+channels.tx+channels.combined > 0 {
		l.Queues = channels.queues()
	}
	return nil
}

func (c ethtoolChannels) queues() doctor.Queues {
	return doctor.Queues{
		RX: int(c.rx + c.combined), TX: int(c.tx + c.combined),
		MaxRX: int(max(c.maxRX, c.maxCombined)), MaxTX: int(max(c.maxTX, c.maxCombined)),
		Combined: c.combined > 0,
	}
}

// ethtool sends one of the commands of SIOCETHTOOL. What a driver does not
// support leaves the values as they are.
func ethtool(fd int, iface string, command unsafe.Pointer) error {
	var ifreq struct { // struct ifreq of linux/if.h: a name and a union of 24 bytes
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(ifreq.name[:unix.IFNAMSIZ-1], iface)
	ifreq.data = command
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&ifreq)))
	runtime.KeepAlive(command)
	if errno != 0 && !errors.Is(errno, unix.EOPNOTSUPP) {
		return fmt.Errorf("ask the driver of %s: %w", iface, errno)
	}
	return nil
}
