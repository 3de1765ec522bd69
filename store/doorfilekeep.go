package store

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"go.etcd.io/bbolt"
)

// addFiles brings a policy file to schema 3.
func addFiles(tx *bbolt.Tx, h *header) error {
	if h.Generation == 0 {
		return nil
	}
	_, err := tx.CreateBucketIfNotExists(bucketFile)
	return err
}

// trashFiles moves the cards that no door's record names into the trash: a file
// that did not get in.
func trashFiles(tx *bbolt.Tx) (moved bool, err error) {
	live := map[string]bool{}
	err = eachIn(tx, bucketFile, func(k, b []byte) error {
		var f DoorFile
		err := decodeDoorFile(k, b, &f)
		live[string(fileBucket(f.gen))] = true
		return asDamage(err)
	})
	if err != nil {
		return false, err
	}
	var names [][]byte
	err = tx.ForEach(func(name []byte, _ *bbolt.Bucket) error {
		if len(name) == 5 && name[0] == codeFileCard && !live[string(name)] {
			names = append(names, bytes.Clone(name))
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	return len(names) > 0, trashAll(tx, names)
}

// freeFile returns a number that no bucket of cards has, in the trash neither.
func freeFile(tx *bbolt.Tx) (uint32, error) {
	top := uint32(0)
	look := func(name []byte) {
		if len(name) == 5 && name[0] == codeFileCard {
			top = max(top, binary.BigEndian.Uint32(name[1:]))
		}
	}
	err := tx.ForEach(func(name []byte, _ *bbolt.Bucket) error {
		look(name)
		return nil
	})
	if err == nil {
		err = tx.Bucket(bucketTrash).ForEachBucket(func(name []byte) error {
			look(name)
			return nil
		})
	}
	return top + 1, err
}

// fileTally compares the table of files with the cards that there are.
type fileTally struct {
	want, got map[uint32]int
}

func newFileTally() fileTally { return fileTally{map[uint32]int{}, map[uint32]int{}} }

func (t *fileTally) visit(path [][]byte, key, payload []byte) error {
	if name := path[len(path)-1]; len(name) == 5 {
		if len(path) == 1 {
			t.got[binary.BigEndian.Uint32(name[1:])]++
		}
		var c fileCard
		return decodeFileCard(key, payload, &c)
	}
	var f DoorFile
	if err := decodeDoorFile(key, payload, &f); err != nil {
		return err
	}
	if _, twice := t.want[f.gen]; twice {
		return fmt.Errorf("door file of %s: its cards are another door's", key)
	}
	t.want[f.gen] = f.Cards
	return nil
}

func (t *fileTally) fault() error {
	for gen, n := range t.want {
		if t.got[gen] != n {
			return fmt.Errorf("door file %d: %d cards where its door says %d", gen, t.got[gen], n)
		}
	}
	return nil
}
