package spec

import (
	"fmt"
	"strings"

	"example.io/shim/linux/abi"
)

// MountOptions is a parsed list of mount options (runtime-spec config-linux.md, "Linux mount options").
type MountOptions struct {
	// Bind and Recursive say that the mount is a copy of a tree that exists: bind, or rbind with Recursive.
	Bind, Recursive bool
	// Set and Clear are MOUNT_ATTR_ flags of this mount alone, ready for mount_setattr(2): an access-time mode in Set, the default one
	// (relatime, 0) included, comes with MOUNT_ATTR__ATIME in Clear. For a new mount Set is what fsmount(2) takes.
	Set, Clear uint64
	// RecSet and RecClear are the same for this mount and all below it (AT_RECURSIVE): rro, rnosuid, ...
	RecSet, RecClear uint64
	// Super and SuperClear are MS_ flags of the file system itself: sync, dirsync, mand, lazytime, iversion, silent. "ro" is not among them:
	// a super block may be shared, a mount is not.
	Super, SuperClear uint64
	// Propagation lists the changes of propagation, in order (slave and then shared is not the same as shared alone).
	Propagation []Propagation
	// Data are the options for the file system, in order.
	Data []MountData
	// IDMap and RIDMap ask for an idmapped mount, RIDMap for all below it too.
	IDMap, RIDMap bool
	// TmpCopyUp copies what the image has at the destination into the new tmpfs.
	TmpCopyUp bool
	// Remount changes a mount that is there.
	Remount bool
}

// Propagation is one change of propagation.
type Propagation struct {
	Type      uint64 // MS_SHARED, MS_SLAVE, MS_PRIVATE or MS_UNBINDABLE, as mount_setattr(2) takes it
	Recursive bool   // with AT_RECURSIVE
}

// MountData is one option of a file system: "size=64k" or "newinstance".
type MountData struct {
	Key      string
	Value    string
	HasValue bool
	Index    int // in the list of options
}

// String returns "key" or "key=value".
func (d MountData) String() string {
	if d.HasValue {
		return d.Key + "=" + d.Value
	}
	return d.Key
}

// OptionError is a mount option that cannot be meant.
type OptionError struct {
	Index  int // in the list
	Option string
	Msg    string
}

func (e *OptionError) Error() string {
	return fmt.Sprintf("mount option %d %q: %s", e.Index, e.Option, e.Msg)
}

// optionKind says which part of MountOptions an option changes.
type optionKind uint8

const (
	optNothing     optionKind = iota // defaults, and the words for what is so anyway
	optSet                           // sets attributes
	optClear                         // clears attributes
	optAtime                         // chooses the access-time mode
	optNoAtime                       // takes a choice back
	optSuper                         // sets flags of the file system
	optSuperClear                    // clears them
	optPropagation                   //
	optBind
	optIDMap
	optCopyUp
	optRemount
)

// optionEntry is a line of the table.
type optionEntry struct {
	name  string
	kind  optionKind
	flags uint64
	rec   bool
}

// mountOption returns what the table says about an option. The table is no map, which would be made at every start of the program.
func mountOption(name string) (optionEntry, bool) {
	for i := range mountOptionTable {
		if mountOptionTable[i].name == name {
			return mountOptionTable[i], true
		}
	}
	return optionEntry{}, false
}

// mountOptionTable holds every option that is not the file system's own. norelatime, nostrictatime and atime choose no access-time mode: a new mount has the
// kernel's default then, which is relatime (mount(2)), and a bind that of its source, as with mount(8). With an r before them they choose that default.
var mountOptionTable = []optionEntry{
	{"defaults", optNothing, 0, false},

	{"ro", optSet, abi.MOUNT_ATTR_RDONLY, false}, {"rw", optClear, abi.MOUNT_ATTR_RDONLY, false},
	{"nosuid", optSet, abi.MOUNT_ATTR_NOSUID, false}, {"suid", optClear, abi.MOUNT_ATTR_NOSUID, false},
	{"nodev", optSet, abi.MOUNT_ATTR_NODEV, false}, {"dev", optClear, abi.MOUNT_ATTR_NODEV, false},
	{"noexec", optSet, abi.MOUNT_ATTR_NOEXEC, false}, {"exec", optClear, abi.MOUNT_ATTR_NOEXEC, false},
	{"nodiratime", optSet, abi.MOUNT_ATTR_NODIRATIME, false}, {"diratime", optClear, abi.MOUNT_ATTR_NODIRATIME, false},
	{"nosymfollow", optSet, abi.MOUNT_ATTR_NOSYMFOLLOW, false}, {"symfollow", optClear, abi.MOUNT_ATTR_NOSYMFOLLOW, false},
	{"noatime", optAtime, abi.MOUNT_ATTR_NOATIME, false}, {"atime", optNoAtime, 0, false},
	{"relatime", optAtime, abi.MOUNT_ATTR_RELATIME, false}, {"norelatime", optNoAtime, 0, false},
	{"strictatime", optAtime, abi.MOUNT_ATTR_STRICTATIME, false}, {"nostrictatime", optNoAtime, 0, false},

	{"rro", optSet, abi.MOUNT_ATTR_RDONLY, true}, {"rrw", optClear, abi.MOUNT_ATTR_RDONLY, true},
	{"rnosuid", optSet, abi.MOUNT_ATTR_NOSUID, true}, {"rsuid", optClear, abi.MOUNT_ATTR_NOSUID, true},
	{"rnodev", optSet, abi.MOUNT_ATTR_NODEV, true}, {"rdev", optClear, abi.MOUNT_ATTR_NODEV, true},
	{"rnoexec", optSet, abi.MOUNT_ATTR_NOEXEC, true}, {"rexec", optClear, abi.MOUNT_ATTR_NOEXEC, true},
	{"rnodiratime", optSet, abi.MOUNT_ATTR_NODIRATIME, true}, {"rdiratime", optClear, abi.MOUNT_ATTR_NODIRATIME, true},
	{"rnosymfollow", optSet, abi.MOUNT_ATTR_NOSYMFOLLOW, true}, {"rsymfollow", optClear, abi.MOUNT_ATTR_NOSYMFOLLOW, true},
	{"rnoatime", optAtime, abi.MOUNT_ATTR_NOATIME, true}, {"ratime", optAtime, abi.MOUNT_ATTR_RELATIME, true},
	{"rrelatime", optAtime, abi.MOUNT_ATTR_RELATIME, true}, {"rnorelatime", optAtime, abi.MOUNT_ATTR_RELATIME, true},
	{"rstrictatime", optAtime, abi.MOUNT_ATTR_STRICTATIME, true}, {"rnostrictatime", optAtime, abi.MOUNT_ATTR_RELATIME, true},

	{"sync", optSuper, abi.MS_SYNCHRONOUS, false}, {"async", optSuperClear, abi.MS_SYNCHRONOUS, false},
	{"dirsync", optSuper, abi.MS_DIRSYNC, false},
	{"mand", optSuper, abi.MS_MANDLOCK, false}, {"nomand", optSuperClear, abi.MS_MANDLOCK, false},
	{"lazytime", optSuper, abi.MS_LAZYTIME, false}, {"nolazytime", optSuperClear, abi.MS_LAZYTIME, false},
	{"iversion", optSuper, abi.MS_I_VERSION, false}, {"noiversion", optSuperClear, abi.MS_I_VERSION, false},
	{"silent", optSuper, abi.MS_SILENT, false}, {"loud", optSuperClear, abi.MS_SILENT, false},

	{"shared", optPropagation, abi.MS_SHARED, false}, {"rshared", optPropagation, abi.MS_SHARED, true},
	{"slave", optPropagation, abi.MS_SLAVE, false}, {"rslave", optPropagation, abi.MS_SLAVE, true},
	{"private", optPropagation, abi.MS_PRIVATE, false}, {"rprivate", optPropagation, abi.MS_PRIVATE, true},
	{"unbindable", optPropagation, abi.MS_UNBINDABLE, false}, {"runbindable", optPropagation, abi.MS_UNBINDABLE, true},

	{"bind", optBind, 0, false}, {"rbind", optBind, 0, true},
	{"idmap", optIDMap, 0, false}, {"ridmap", optIDMap, 0, true},
	{"tmpcopyup", optCopyUp, 0, false},
	{"remount", optRemount, 0, false},
}

// ParseMountOptions parses the options of one mount. Where two options contradict each other the later one counts, as with mount(8). What is in
// no table is for the file system (Data); an empty string says nothing. The error is an *OptionError.
func ParseMountOptions(opts []string) (MountOptions, error) {
	var m MountOptions
	for i, o := range opts {
		if e, ok := mountOption(o); ok {
			m.apply(e)
			continue
		}
		for _, one := range splitData(o) {
			if one == "" {
				continue
			}
			key, value, has := strings.Cut(one, "=")
			if key == "" {
				return MountOptions{}, &OptionError{i, o, "nothing stands before the ="}
			}
			if known := strings.ToLower(key); known != key {
				if _, ok := mountOption(known); ok && !has {
					return MountOptions{}, &OptionError{i, o, fmt.Sprintf("options are case sensitive: write %s", known)}
				}
			}
			m.Data = append(m.Data, MountData{key, value, has, i})
		}
	}
	return m, nil
}

// splitData cuts an option at its commas, as the kernel does with mount(2)'s data. Quotes (SELinux contexts) and backslashes
// (overlayfs paths) can protect a comma: such an option stays whole.
func splitData(o string) []string {
	if strings.ContainsAny(o, `"\`) {
		return []string{o}
	}
	return strings.Split(o, ",")
}

func (m *MountOptions) apply(e optionEntry) {
	set, clr := &m.Set, &m.Clear
	if e.rec {
		set, clr = &m.RecSet, &m.RecClear
	}
	switch e.kind {
	case optSet:
		*set, *clr = *set|e.flags, *clr&^e.flags
	case optClear:
		*set, *clr = *set&^e.flags, *clr|e.flags
	case optAtime:
		*set, *clr = *set&^abi.MOUNT_ATTR__ATIME|e.flags, *clr|abi.MOUNT_ATTR__ATIME
	case optNoAtime:
		*set, *clr = *set&^abi.MOUNT_ATTR__ATIME, *clr&^abi.MOUNT_ATTR__ATIME
	case optSuper:
		m.Super, m.SuperClear = m.Super|e.flags, m.SuperClear&^e.flags
	case optSuperClear:
		m.Super, m.SuperClear = m.Super&^e.flags, m.SuperClear|e.flags
	case optPropagation:
		m.Propagation = append(m.Propagation, Propagation{e.flags, e.rec})
	case optBind:
		m.Bind, m.Recursive = true, m.Recursive || e.rec
	case optIDMap:
		m.IDMap, m.RIDMap = true, m.RIDMap || e.rec
	case optCopyUp:
		m.TmpCopyUp = true
	case optRemount:
		m.Remount = true
	case optNothing:
	}
}

// MountOptionNames returns every option that is not the file system's own, unsorted (features.md, "mountOptions").
func MountOptionNames() []string {
	names := make([]string, 0, len(mountOptionTable))
	for _, o := range mountOptionTable {
		names = append(names, o.name)
	}
	return names
}
