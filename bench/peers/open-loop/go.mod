module open-loop

go 1.21
