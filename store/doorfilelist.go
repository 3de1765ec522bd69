package store

import (
	"bytes"
	"context"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"gatehouse/agent/site"
)

// eachFileCredential lists the cards of door files as credentials, in short
// transactions.
func (s *Store) eachFileCredential(ctx context.Context, f Filter, fn func(site.Credential) error) error {
	if f.Holder != "" || f.Source != "" && f.Source != site.SourceIPHost || f.State != site.CredentialInvalid && f.State != site.CredentialActive {
		return nil
	}
	for _, v := range s.fileViews() {
		if f.Door != "" && v.Door != f.Door {
			continue
		}
		for after := []byte(nil); ; {
			if err := ctx.Err(); err != nil {
				return err
			}
			page, err := s.filePage(v, after)
			if err != nil {
				return err
			}
			for _, c := range page {
				if err := fn(c.shown); err != nil {
					return err
				}
			}
			if len(page) < pageRows {
				break
			}
			last := page[len(page)-1].enc
			after = slices.Clone(last[:])
		}
	}
	return nil
}

type shownCard struct {
	enc   [16]byte
	shown site.Credential
}

func (s *Store) filePage(v *fileView, after []byte) (page []shownCard, err error) {
	err = s.policy.view(func(tx *bbolt.Tx) error {
		page = page[:0]
		b := tx.Bucket(v.bucket)
		if b == nil {
			return nil // replaced meanwhile
		}
		c := b.Cursor()
		k, val := c.Seek(after)
		if after != nil && bytes.Equal(k, after) {
			k, val = c.Next()
		}
		for ; k != nil && len(page) < pageRows; k, val = c.Next() {
			var rec fileCard
			if err := openFileCard(k, val, &rec); err != nil {
				return err
			}
			out := shownCard{enc: rec.enc}
			if _, err := s.presentFile(tx, v, &rec, time.Time{}, &out.shown); err != nil {
				return err
			}
			page = append(page, out)
		}
		return nil
	})
	return page, err
}

func openFileCard(k, v []byte, c *fileCard) error {
	p, err := openValue(codeFileCard, k, v)
	if err == nil {
		err = decodeFileCard(k, p, c)
	}
	if err != nil {
		return damaged("card of a door file: %w", err)
	}
	return nil
}
