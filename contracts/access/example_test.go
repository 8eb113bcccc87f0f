package access_test

import (
	"fmt"

	"github.com/seed79541315/postern/contracts/access"
)

func ExampleParseDocument() {
	document, err := access.ParseDocument([]byte(`{
  "entities": [{"type": "user", "id": "ann", "roles": ["staff"]}],
  "rules": [{
    "id": "staff-open", "effect": "permit", "actions": ["open"],
    "resource": {"type": "lock"}, "subject": {"roles": ["staff"]}
  }]
}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	// Begin, entities, rules, activate: version 2 in place of version 1.
	fmt.Println(document.Count(), "items in", len(document.Messages(2, 1)), "messages")
	// Output: 2 items in 4 messages
}

func ExampleParseDocument_mistake() {
	_, err := access.ParseDocument([]byte(`{"rules": [
  {"id": "r", "effect": "permit", "actions": ["open"],
   "resource": {"type": "lock"}, "subject": {"role": "staff"}}
]}`))
	fmt.Println(err)
	// Output: line 3: rules[0].subject.role: unknown field; known here: groups, ids, roles, types
}

func ExampleDocument_Check() {
	document, err := access.ParseDocument([]byte(`{"rules": [
  {"id": "r", "effect": "permit", "actions": ["open"],
   "resource": {"type": "lock"}, "subject": {"roles": ["stuff"]}}
]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, finding := range document.Check() {
		fmt.Println(finding)
	}
	// Output: line 2: rule "r" names the role "stuff", which no entity has
}
