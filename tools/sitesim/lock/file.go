package lock

// What a lock takes (engage.md section 5).
const (
	MaxFile      = 8 << 20 // bytes of a door file
	MaxUsers     = 5000
	MaxChanges   = 500 // of a file that is no full one
	MaxSchedules = 16
	maxHolidays  = 64
	maxAuto      = 64
	maxUserID    = 65534
	allDay       = 1440
)

// function is what a user's card does.
type function uint8

const (
	opens function = iota
	toggles
	freezes
	passesThrough
	locksDown
	opensOnce
	supervised
	blocked
)

// functions are the words for them. Only norm is documented; the others are
// candidates that this lock takes (engage.md section 5 marks them unknown).
var functions = map[string]function{
	"norm": opens, "toggle": toggles, "dogged": toggles, "freeze": freezes,
	"pass-through": passesThrough, "passthrough": passesThrough, "passthru": passesThrough, "pass_through": passesThrough,
	"lockdown": locksDown, "one-time": opensOnce, "onetime": opensOnce, "one_time": opensOnce,
	"supervised": supervised, "blocked": blocked,
}

// user is one user of the table. Times are 14 digits of the lock's own clock.
type user struct {
	id          int
	card        [16]byte
	function    function
	ada         bool
	schedules   uint16 // bit n-1 stands for schedule n
	from, until string
	used        bool // a one-time card that has opened
}

// schedule is a time of the week: minutes of the days, end exclusive.
type schedule struct {
	days       uint8 // bit 0 is Sunday
	start, end int
}

// holiday is a time in which other rules hold. Times are 14 digits, end exclusive.
type holiday struct {
	start, end string
	action     holidayAction
}

type holidayAction uint8

const (
	holidayPassage holidayAction = iota + 1
	holidaySecured
	holidayRestricted
)

// holidayActions are candidates too.
var holidayActions = map[string]holidayAction{
	"passage": holidayPassage, "pass": holidayPassage, "secured": holidaySecured, "secure": holidaySecured, "sec": holidaySecured,
	"restricted": holidayRestricted,
}

// auto changes the state once, at a minute of its days.
type auto struct {
	passage bool
	minute  int
	days    uint8
}

// file is a door file as it was read.
type file struct {
	full               bool
	delete             []user // id and card only
	update, add        []user
	schedules          []schedule
	holidays           []holiday
	auto               []auto
	config             []byte
	nextCall, version  string
	versionNumber      uint64
	highest, highestAt int // the largest schedule that a user names, and who
}
