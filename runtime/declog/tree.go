package declog

import (
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/seed79541315/postern/abi"
)

// The tree over the records is cut into tiles of tileWidth hashes, as package
// tlog has them: a tile of level 0 holds leaves, each hash of a tile of level
// l+1 is the root of a whole tile of level l. Leaves are not stored, they are
// made of the records again. Levels from 1 on are stored for ever, one file a
// level, hash after hash: 32 bytes for 256 records and little for those above.
const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
	hashSize   = tlog.HashSize
	maxLevels  = 7 // 2^56 records
)

// tree is the right edge of the log's tree: on each level the tile that is not
// whole yet.
type tree struct {
	size uint64
	edge [maxLevels][]tlog.Hash
}

// levelHash is a hash that belongs into the file of a level.
type levelHash struct {
	level int
	index uint64
	hash  tlog.Hash
}

// add appends a leaf and returns more with the hashes of the tiles that are
// whole now.
func (t *tree) add(leaf tlog.Hash, more []levelHash) []levelHash {
	t.size++
	t.edge[0] = append(t.edge[0], leaf)
	for level := 0; len(t.edge[level]) == tileWidth; level++ {
		root := tileRoot(t.edge[level])
		t.edge[level] = t.edge[level][:0]
		t.edge[level+1] = append(t.edge[level+1], root)
		index := t.size>>(tileHeight*(level+1)) - 1
		more = append(more, levelHash{level + 1, index, root})
	}
	return more
}

// tileRoot is the root of a whole tile.
func tileRoot(hashes []tlog.Hash) tlog.Hash {
	if len(hashes) == 1 {
		return hashes[0]
	}
	half := len(hashes) / 2
	return tlog.NodeHash(tileRoot(hashes[:half]), tileRoot(hashes[half:]))
}

// root is the root of the whole tree.
func (t *tree) root() (abi.Hash, error) {
	h, err := tlog.TreeHash(int64(t.size), t.reader(nil))
	return abi.Hash(h), err
}

// tileSource reads the first hashes of a tile that is not on the edge.
type tileSource func(level int, index uint64) ([]tlog.Hash, error)

// reader reads hashes of the tree: those of the edge from memory, others from
// the source.
func (t *tree) reader(source tileSource) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		list := make([]tlog.Hash, len(indexes))
		var last tlog.Tile
		var data []byte
		for i, index := range indexes {
			tile := tlog.TileForIndex(tileHeight, index)
			if last.L != tile.L || last.N != tile.N || data == nil {
				hashes, err := t.tile(tile.L, uint64(tile.N), source)
				if err != nil {
					return nil, err
				}
				last, data = tile, appendHashes(nil, hashes)
			}
			if len(data) < tile.W*hashSize {
				return nil, fmt.Errorf("hash %d of the tree is not there yet: %w", index, abi.CodeNotFound)
			}
			h, err := tlog.HashFromTile(tile, data[:tile.W*hashSize], index)
			if err != nil {
				return nil, err
			}
			list[i] = h
		}
		return list, nil
	})
}

// tile is what there is of a tile.
func (t *tree) tile(level int, index uint64, source tileSource) ([]tlog.Hash, error) {
	if level >= maxLevels {
		return nil, fmt.Errorf("level %d of the tree: %w", level, abi.CodeNotFound)
	}
	if index == t.size>>(tileHeight*level)/tileWidth {
		return t.edge[level], nil
	}
	if source == nil {
		return nil, fmt.Errorf("tile %d of level %d is not on the edge: %w", index, level, abi.CodeNotFound)
	}
	return source(level, index)
}

// prove is the inclusion proof of a position in the tree of a size.
func prove(size, position uint64, r tlog.HashReader) ([]abi.Hash, error) {
	p, err := tlog.ProveRecord(int64(size), int64(position), r)
	return abiHashes(p), err
}

// proveGrowth is the consistency proof from one size to another; there is none
// from an empty tree, and none is needed to the same.
func proveGrowth(size, from uint64, r tlog.HashReader) ([]abi.Hash, error) {
	if from == 0 || from == size {
		return nil, nil
	}
	p, err := tlog.ProveTree(int64(size), int64(from), r)
	return abiHashes(p), err
}

func abiHashes(list []tlog.Hash) []abi.Hash {
	out := make([]abi.Hash, len(list))
	for i := range list {
		out[i] = abi.Hash(list[i])
	}
	return out
}

func appendHashes(b []byte, hashes []tlog.Hash) []byte {
	for i := range hashes {
		b = append(b, hashes[i][:]...)
	}
	return b
}

func splitHashes(b []byte) []tlog.Hash {
	list := make([]tlog.Hash, len(b)/hashSize)
	for i := range list {
		list[i] = tlog.Hash(b[i*hashSize:])
	}
	return list
}
