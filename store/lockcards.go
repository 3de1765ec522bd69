package store

import (
	"context"
	"errors"

	"gatehouse/agent/card"
	"gatehouse/agent/site"
)

// Seal returns the block of a card as the store keeps it: encrypted under the device
// key. What is kept of a card outside of the store is kept so.
func (s *Store) Seal(block card.Block) [16]byte { return s.enc(block) }

// OpenBlock is the reverse of Seal. What comes out is a card: keep it in memory only.
func (s *Store) OpenBlock(sealed [16]byte) (block card.Block) {
	s.keys.blocks.Decrypt(block[:], sealed[:])
	return block
}

// CardsAt calls fn once for each card that may concern one of the doors.
func (s *Store) CardsAt(ctx context.Context, doors []site.DoorID, fn func(door site.DoorID, block card.Block, records []site.Credential) error) error {
	return errors.New("not built yet")
}
