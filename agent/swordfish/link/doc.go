// Package link is the device server of the site's locks (engage.md sections 4, 5
// and 6): the HTTP sessions of Wi-Fi locks, and the handler of the calls that
// locks on serial lines make.
package link
