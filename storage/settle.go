package storage

import (
	"errors"
	"io/fs"
)

// Folders of an import beside that of the store: in the making, ready to
// replace the store, and the store that was replaced.
const (
	joinSuffix   = "-join"
	joinedSuffix = "-joined"
	oldSuffix    = "-old"
)

// replace puts what came out in the place of the store. Its new name says that
// it is complete: settleImport goes on from there at any later time.
func (i *Import) replace() error {
	disk := i.home.FS
	err := disk.Rename(i.cfg.Dir, i.home.Dir+joinedSuffix)
	if err == nil {
		err = syncDir(disk, disk.PathDir(i.home.Dir))
	}
	if err != nil {
		return err
	}
	return settleImport(i.home)
}

// settleImport completes the replacement of a store that was begun: an import
// that is ready takes the store's place.
func settleImport(cfg Config) error {
	disk, ready, old := cfg.FS, cfg.Dir+joinedSuffix, cfg.Dir+oldSuffix
	there, err := exists(cfg, ready)
	if err != nil {
		return err
	}
	replaced, err := exists(cfg, cfg.Dir)
	if err != nil {
		return err
	}
	if there && replaced {
		// An older one that is still there was replaced before.
		err := disk.RemoveAll(old)
		if err == nil {
			err = disk.Rename(cfg.Dir, old)
		}
		if err == nil {
			err = syncDir(disk, disk.PathDir(cfg.Dir))
		}
		if err != nil {
			return err
		}
	}
	if there {
		if err := disk.Rename(ready, cfg.Dir); err != nil {
			return err
		}
		if err := syncDir(disk, disk.PathDir(cfg.Dir)); err != nil {
			return err
		}
	}
	if there || replaced {
		return disk.RemoveAll(old)
	}
	return nil
}

func exists(cfg Config, path string) (bool, error) {
	_, err := cfg.FS.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
