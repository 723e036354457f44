package e2e

const otherPins = pinDir + "-other"
